"""What a member makes of what is told again: allowed for a moment before a loss, and only until RESUMED."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import msgspec
import pytest

from deploy.replay.account import Account, Verdict
from deploy.replay.frames import Frame
from deploy.replay.member import REPEATS_S, Member, Room
from deploy.replay.rest import Addresses, Counts, Group, Rest, User
from deploy.replay.session import Ways

NOWHERE = "http://127.0.0.1:9"


class Talk:
    """A member in a room where the owner has said two things, the first one long before the second."""

    def __init__(self, *, tells_positions: bool) -> None:
        self.now = 0.0
        self.counts = Counts()
        account = Account(3)
        room = Room("tea", account)
        room.group = Group(5, 7, 0)
        room.numbers["2"] = 0
        rest = Rest(httpx.AsyncClient(), Addresses(NOWHERE, NOWHERE), self.counts, 1.0)
        self.member = Member(
            1, User(3, "token"), room, rest, self.counts,
            home=0, ways=Ways((NOWHERE,), tells_positions), gate=asyncio.Semaphore(1), line_s=1.0, clock=self.clock,
        )  # fmt: skip
        self._account = account
        account.join_sent(1)
        account.join_answered(1)
        for seq in (1, 2, 3):
            account.sent(str(seq), 0, "text", 0.0)
            account.acked(str(seq), 1000 + seq, seq, 0.0)

    def clock(self) -> float:
        """Return what a test says is now."""
        return self.now

    async def tell(self, t: str, **d: Any) -> None:
        """Let the session tell something."""
        await self.member.take(Frame(0, msgspec.Raw(msgspec.json.encode(d)), t, 1))

    async def hear(self, seq: int) -> None:
        """Let the session tell a message."""
        author = {"id": "2"}
        message_id, nonce = str(1000 + seq), str(seq)
        await self.tell(
            "MESSAGE_CREATE", id=message_id, seq=seq, channel_id="7", content="text", author=author, nonce=nonce
        )

    async def begin(self) -> None:
        """Be in the group, hear two messages, and lose the connection shortly after the second."""
        await self.tell("GUILD_CREATE", id="5", seq=4, channels=[{"id": "7", "last_seq": 0}])
        await self.hear(1)
        self.now = 10.0
        await self.hear(2)
        self.now = 10.0 + REPEATS_S / 2
        self.member.lost()

    def verdict(self) -> Verdict:
        """Judge."""
        return self._account.verdict(is_strict=True)


async def test_only_the_last_moment_may_come_again() -> None:
    """What was heard shortly before the loss is a repeat; what was heard earlier came twice."""
    talk = Talk(tells_positions=False)
    await talk.begin()
    for seq in (1, 2, 3):
        await talk.hear(seq)
    assert (talk.verdict().repeated, talk.verdict().doubled, talk.verdict().lost) == (1, 1, 0)
    assert talk.counts.oldest_repeat_s == pytest.approx(REPEATS_S / 2)


async def test_a_break_before_resumed_repeats_the_replay() -> None:
    """What may come again stays so until RESUMED, however often the connection breaks; then nothing may."""
    talk = Talk(tells_positions=False)
    await talk.begin()
    await talk.hear(2)
    talk.now = 60.0
    talk.member.lost()
    await talk.hear(2)
    await talk.hear(3)
    talk.member.resumed()
    assert (talk.verdict().repeated, talk.verdict().doubled) == (2, 0)
    await talk.hear(3)
    assert (talk.verdict().repeated, talk.verdict().doubled) == (2, 1)


async def test_who_tells_positions_must_get_nothing_twice() -> None:
    """Its positions say what it has, so nothing may come again."""
    talk = Talk(tells_positions=True)
    await talk.begin()
    assert talk.member.positions() == {"7": 2}
    await talk.hear(2)
    assert (talk.verdict().repeated, talk.verdict().doubled) == (0, 1)


async def test_a_session_that_goes_on_reads_no_pages() -> None:
    """A body of the group that is told in the same stay fills no gap: what lies between is lost unless it comes."""
    talk = Talk(tells_positions=True)
    await talk.begin()
    await talk.tell("GUILD_CREATE", id="5", seq=6, channels=[{"id": "7", "last_seq": 3}])
    assert talk.verdict().lost == 1
    await talk.hear(3)
    assert talk.verdict().lost == 0


async def test_a_body_or_a_leave_that_is_told_again_changes_nothing() -> None:
    """What the group's seq says to be old is passed over; what is new is not."""
    talk = Talk(tells_positions=False)
    await talk.begin()
    await talk.tell("GUILD_DELETE", id="5", seq=3)
    await talk.tell("GUILD_CREATE", id="5", seq=4, channels=[{"id": "7", "last_seq": 0}])
    await talk.hear(3)
    assert (talk.verdict().lost, talk.counts.excused) == (0, 0)
