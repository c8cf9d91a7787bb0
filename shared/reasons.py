"""Reasons: why a change is made, as the header `X-Audit-Log-Reason` says; told in the group's audit log.

Ring 4 (shell). A dependency of routes, in all services that change what a group has.
"""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import unquote

from fastapi import Depends, Header

from shared.core.errors import InvalidForm

MAX_REASON: Final = 512
"""Characters of a reason."""
_LONGEST: Final = 12 * MAX_REASON
"""Of the header: percent-encoded, a character takes twelve at most."""


async def reason_of(
    header: Annotated[
        str, Header(alias="X-Audit-Log-Reason", description=f"why, percent-encoded, at most {MAX_REASON} characters")
    ] = "",
) -> str:
    """Return what the header says. Raises `InvalidForm`."""
    reason = unquote(header) if len(header) <= _LONGEST else header
    if len(reason) > MAX_REASON or not reason.replace("\n", "").replace("\t", "").isprintable():
        text = f"Must be {MAX_REASON} or fewer in length, and printable."
        raise InvalidForm({"X-Audit-Log-Reason": [("BASE_TYPE_BAD_LENGTH", text)]})
    return reason


Reason = Annotated[str, Depends(reason_of)]
"""A route's parameter: why; "" where that is not told."""
