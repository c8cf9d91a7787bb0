"""Failures: telling of what failed and is tried again in one line for all of a second.

Ring 4 (shell). An outage meets every user and group of a node, again and again; one line each would be thousands.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

TELL_S: Final = 1.0

log = structlog.get_logger(__name__)


class Failures:
    """Logs `event` with how many failures there were, and the last one's reason, at most once in `tell_s`."""

    def __init__(self, event: str, tell_s: float = TELL_S) -> None:
        self._event = event
        self._tell_s = tell_s
        self._count = 0
        self._reason = ""

    def note(self, error: Exception) -> None:
        """Take in that something failed."""
        if not self._count:
            asyncio.get_running_loop().call_later(self._tell_s, self._tell)
        self._count += 1
        self._reason = repr(error)

    def _tell(self) -> None:
        log.warning(self._event, failures=self._count, reason=self._reason)
        self._count = 0
