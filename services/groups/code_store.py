"""The store of codes that were sent by e-mail. The seam, and the one in memory.

Ring 2. Held with `services.groups.mongo_codes` by tests/contracts/test_code_store.py.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from services.groups.core.codes import Code


class CodeStore(Protocol):
    """One code per key. All raise `shared.streams.StoreUnavailable`."""

    async def read(self, key: str) -> Code | None:
        """Return the last code of a key, good or not."""

    async def put(self, code: Code) -> None:
        """Keep a code in the place of the one before."""

    async def spend_try(self, key: str, now: int) -> Code | None:
        """Use one of a good code's tries; return the code, or None if there is none that is good."""

    async def use_up(self, code: Code) -> bool:
        """Make this very code worth nothing; False if it is so already: who is told True used it, nobody else did."""

    async def forget(self, before: int) -> None:
        """Drop codes that were sent before then (Unix ms)."""


class MemoryCodes:
    """A `CodeStore` without a server."""

    def __init__(self) -> None:
        self._codes: dict[str, Code] = {}

    async def read(self, key: str) -> Code | None:
        """Return the last code of a key."""
        return self._codes.get(key)

    async def put(self, code: Code) -> None:
        """Keep a code in the place of the one before."""
        self._codes[code.key] = code

    async def spend_try(self, key: str, now: int) -> Code | None:
        """Use one of a good code's tries."""
        code = self._codes.get(key)
        if code is None or not code.is_good(now):
            return None
        spent = self._codes[key] = msgspec.structs.replace(code, tries=code.tries - 1)
        return spent

    async def use_up(self, code: Code) -> bool:
        """Make this very code worth nothing."""
        known = self._codes.get(code.key)
        if known is None or known.digest != code.digest or known.tries < 0:
            return False
        self._codes[code.key] = msgspec.structs.replace(known, tries=-1)
        return True

    async def forget(self, before: int) -> None:
        """Drop codes that were sent before then."""
        self._codes = {key: code for key, code in self._codes.items() if code.at >= before}
