"""Password hashes: argon2id, off the event loop, a bounded number at a time.

Ring 4 (shell). Hashing is made slow on purpose; a queue in front of it that grows would be an easy way to
stop a server, so what does not fit is refused at once as retryable.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from shared.core.errors import Unavailable

T = TypeVar("T")

MAX_WAITING: Final = 256
"""Hashes at work or waiting in one process: on two cores the last waits about 6 s (50 took 1.3 s), below a
request's deadline."""


def standard_hasher() -> PasswordHasher:
    """Return argon2id with the parameters of OWASP's Password Storage Cheat Sheet (19 MiB, 2 passes)."""
    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


class Passwords:
    """Hashes and verifies. Open with `open_passwords`."""

    def __init__(self, hasher: PasswordHasher, executor: ThreadPoolExecutor, *, max_waiting: int = MAX_WAITING) -> None:
        self._hasher = hasher
        self._executor = executor
        self._max_waiting = max_waiting
        self._waiting = 0
        self._nobodys = hasher.hash(secrets.token_hex())

    @property
    def in_hand(self) -> int:
        """How many hashes are at work or wait."""
        return self._waiting

    async def hash(self, password: str) -> str:
        """Return a new hash with its salt and parameters in it. Raises `Unavailable` when too many wait."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Return whether the password is the stored hash's; as slow, and False, where there is none.

        Raises `Unavailable` when too many wait.
        """
        matches = await self._run(lambda: self._matches(stored or self._nobodys, password))
        return matches and stored is not None

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= self._max_waiting:
            raise Unavailable(retry_after=1.0)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._waiting -= 1


@contextmanager
def open_passwords(hasher: PasswordHasher | None = None) -> Iterator[Passwords]:
    """Open a `Passwords` with one thread per core; what still waits at the end is dropped."""
    executor = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="passwords")
    try:
        yield Passwords(hasher or standard_hasher(), executor)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
