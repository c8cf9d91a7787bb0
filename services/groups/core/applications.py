"""Applications: how many a user may own.

Ring 1 (core).
"""

from __future__ import annotations

from typing import Final

from shared.core.account_errors import TooManyApplications

MAX_APPLICATIONS: Final = 25
"""Applications of one user, each with its bot."""


def require_application_room(owned: int) -> None:
    """Refuse one more application for who owns so many. Raises `TooManyApplications`."""
    if owned >= MAX_APPLICATIONS:
        raise TooManyApplications(f"Maximum number of applications reached ({MAX_APPLICATIONS})")
