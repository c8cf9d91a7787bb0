"""The door: a revoked token is out within a second, for one read per user and second; in doubt nobody comes in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from shared.auth import Tokens
from shared.core.errors import Unauthorized, Unavailable
from shared.core.revocation import NOTHING_REVOKED, Revocations
from shared.core.user_events import TokensRevoked
from shared.door import AGE_S, Door
from shared.streams import StoreUnavailable

TOKENS = Tokens("a secret of the tests, long enough")
ANN, BOB = 7, 8
ISSUED = 1_000


class Groups:
    """Who knows what was revoked; a read waits for `gate` and answers what was so when it came."""

    def __init__(self) -> None:
        self.revoked: dict[int, Revocations] = {}
        self.reads: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.now = 100.0
        self.door = Door(TOKENS, self.read, lambda: self.now, max_users=2)

    async def read(self, user_id: int) -> Revocations:
        """Answer a read."""
        self.reads.append(user_id)
        found, failure = self.revoked.get(user_id, NOTHING_REVOKED), self.failure
        await self.gate.wait()
        if failure is not None:
            raise failure
        return found

    def revoke_all(self, user_id: int) -> None:
        """Revoke all tokens of a user."""
        self.revoked[user_id] = NOTHING_REVOKED.after(TokensRevoked(ISSUED + 1))


async def begun(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start something and let it come to where it waits."""
    task = asyncio.ensure_future(work)
    for _ in range(5):
        await asyncio.sleep(0)
    return task


async def test_one_read_a_second() -> None:
    """What was read is used for a second, and not a moment longer; each user for itself."""
    groups, token = Groups(), TOKENS.mint(ANN, ISSUED)
    for _ in range(3):
        assert (await groups.door.admit(f"Bot {token}")).user_id == ANN
    assert groups.reads == [ANN]
    groups.revoke_all(ANN)
    groups.now += AGE_S - 0.01
    await groups.door.admit(token)
    await groups.door.admit(TOKENS.mint(BOB, ISSUED))
    assert groups.reads == [ANN, BOB]
    groups.now += 0.01
    with pytest.raises(Unauthorized):
        await groups.door.admit(token)
    await groups.door.admit(TOKENS.mint(ANN, ISSUED + 1))
    assert groups.reads == [ANN, BOB, ANN]


async def test_a_forged_token_costs_no_read() -> None:
    """What is not signed by us is refused before anything is asked."""
    groups = Groups()
    with pytest.raises(Unauthorized):
        await groups.door.admit("Nw.eA.eA")
    assert groups.reads == []


async def test_many_at_once_are_one_read() -> None:
    """Who comes while it is being read waits for the same answer."""
    groups, token = Groups(), TOKENS.mint(ANN, ISSUED)
    groups.gate.clear()
    calls = [await begun(groups.door.admit(token)) for _ in range(5)]
    groups.gate.set()
    assert {bearer.user_id for bearer in await asyncio.gather(*calls)} == {ANN}
    assert groups.reads == [ANN]


async def test_a_slow_read_is_not_waited_for_by_who_comes_late() -> None:
    """A read that began a second ago may not know what was revoked since; its answer is not used later either."""
    groups, token = Groups(), TOKENS.mint(ANN, ISSUED)
    groups.gate.clear()
    slow = await begun(groups.door.admit(token))
    groups.revoke_all(ANN)
    groups.now += AGE_S
    late = await begun(groups.door.admit(token))
    groups.gate.set()
    assert (await slow).user_id == ANN
    with pytest.raises(Unauthorized):
        await late
    with pytest.raises(Unauthorized):
        await groups.door.admit(token)
    assert groups.reads == [ANN, ANN]


async def test_who_revokes_here_is_heard_at_once() -> None:
    """After `forget` neither what was read nor what is being read is used."""
    groups, token = Groups(), TOKENS.mint(ANN, ISSUED)
    await groups.door.admit(token)
    groups.revoke_all(ANN)
    groups.door.forget(ANN)
    with pytest.raises(Unauthorized):
        await groups.door.admit(token)

    other = TOKENS.mint(BOB, ISSUED)
    groups.gate.clear()
    before = await begun(groups.door.admit(other))
    groups.revoke_all(BOB)
    groups.door.forget(BOB)
    groups.gate.set()
    with pytest.raises(Unauthorized):
        await groups.door.admit(other)
    await before
    with pytest.raises(Unauthorized):
        await groups.door.admit(other)


@pytest.mark.parametrize("failure", [Unavailable, StoreUnavailable, TimeoutError])
async def test_in_doubt_nobody_comes_in(failure: Callable[[], Exception]) -> None:
    """Where it can't be read all who wait are told to try again; the next one makes a new attempt."""
    groups, token = Groups(), TOKENS.mint(ANN, ISSUED)
    groups.failure = failure()
    groups.gate.clear()
    calls = [await begun(groups.door.admit(token)) for _ in range(3)]
    groups.gate.set()
    assert [type(told) for told in await asyncio.gather(*calls, return_exceptions=True)] == [Unavailable] * 3
    assert groups.reads == [ANN]
    groups.failure = None
    assert (await groups.door.admit(token)).user_id == ANN


async def test_a_reader_that_goes_away_leaves_nobody_waiting() -> None:
    """If the request that reads is cancelled, one of those that wait for it reads instead."""
    groups, token = Groups(), TOKENS.mint(ANN, ISSUED)
    groups.gate.clear()
    reader, waiting = await begun(groups.door.admit(token)), await begun(groups.door.admit(token))
    reader.cancel()
    await asyncio.wait({reader})
    groups.gate.set()
    assert (await waiting).user_id == ANN
    assert groups.reads == [ANN, ANN]


async def test_so_many_are_known() -> None:
    """Beyond its bound the door forgets who was read longest ago."""
    groups = Groups()
    for user_id in (ANN, BOB, 9, BOB, ANN):
        await groups.door.admit(TOKENS.mint(user_id, ISSUED))
    assert groups.reads == [ANN, BOB, 9, ANN]
