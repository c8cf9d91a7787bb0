"""Password hashes: argon2id, bounded, and as slow for nobody as for somebody."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import pytest
from argon2 import PasswordHasher

from services.groups.passwords import Passwords, open_passwords, standard_hasher
from shared.core.errors import Unavailable
from tests.groups.world import CHEAP


class SlowHasher(PasswordHasher):
    """Hashes only when it is let."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.free = threading.Event()
        self.verified: list[str] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 (the base's name)
        self.free.wait(10)
        self.verified.append(str(hash))
        return super().verify(hash, password)


async def test_a_hash_is_argon2id_and_verifies() -> None:
    """A password verifies against its own hash only, and two hashes of it differ by their salt."""
    with open_passwords() as passwords:
        first, second = await asyncio.gather(passwords.hash("correct horse"), passwords.hash("correct horse"))
        assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert first != second
        assert await passwords.verify(first, "correct horse")
        assert not await passwords.verify(first, "correct horse ")


async def test_what_is_no_hash_matches_nothing() -> None:
    """A broken or missing hash is a wrong password, never an error."""
    with open_passwords(CHEAP) as passwords:
        for stored in ("", "no hash", "$argon2id$v=19$broken", None):
            assert not await passwords.verify(stored, "anything")


async def test_nobody_costs_as_much_as_somebody() -> None:
    """Where there is no account, a hash of the same parameters is verified all the same."""
    hasher = SlowHasher()
    hasher.free.set()
    with open_passwords(hasher) as passwords:
        stored = await passwords.hash("password")
        await passwords.verify(stored, "password")
        assert not await passwords.verify(None, "password")
        assert [one.rsplit("$", 2)[0] for one in hasher.verified] == [stored.rsplit("$", 2)[0]] * 2


async def test_the_queue_is_bounded() -> None:
    """What does not fit is refused at once as retryable; what was taken in is done."""
    hasher = SlowHasher()
    executor = ThreadPoolExecutor(1)
    passwords = Passwords(hasher, executor, max_waiting=3)
    tasks = [asyncio.create_task(passwords.verify(None, "password")) for _ in range(3)]
    await asyncio.sleep(0)  # they begin
    assert passwords.in_hand == 3
    with pytest.raises(Unavailable) as refusal:
        await passwords.hash("password")
    assert refusal.value.retry_after
    hasher.free.set()
    assert await asyncio.gather(*tasks) == [False] * 3
    assert passwords.in_hand == 0
    executor.shutdown()


def test_the_standard_is_owasps() -> None:
    """The parameters are those of OWASP's cheat sheet for argon2id."""
    hasher = standard_hasher()
    assert (hasher.memory_cost, hasher.time_cost, hasher.parallelism) == (19_456, 2, 1)
