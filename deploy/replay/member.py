"""A member: one user of the log, which sees what its session is told, and says what the log lets it say.

A client's shell. Everything that a message meets on its way into the `Account` happens in the one task that reads the
session (`session`), one after the other, so what is counted is the order in which a person would have seen it.
A session that resumes must tell all of it by itself; one that begins anew tells heads, and what lies between the last
seq seen and the head is read from `GET /channels/{id}/events`, while the socket holds back what comes live.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from deploy.replay.account import Account
from deploy.replay.asking import Asking
from deploy.replay.frames import (
    Ack,
    Author,
    Frame,
    GuildCreate,
    GuildDelete,
    Message,
    Ready,
    decode_guild,
    decode_guild_delete,
    decode_message,
)
from deploy.replay.rest import Counts, GaveUp, Group, Refused, Rest, User
from deploy.replay.session import Session, Ways

REPEATS_S: Final = 0.5
"""A client that tells no positions may be told again what came so shortly before it lost a node: what the node sent
in its last 250 ms, and some more for the way here."""
_HEARD: Final = 1024
"""How many messages a member knows the time of; more do not come in `REPEATS_S`."""
_AGAIN_S: Final = 0.1


class Room:
    """What the members of one log share: the group once it is made, the account, who has which user id."""

    def __init__(self, name: str, account: Account) -> None:
        self.name = name
        self.account = account
        self.group: Group | None = None
        self.numbers: dict[str, int] = {}

    def require_group(self) -> Group:
        """Return the group."""
        if self.group is None:
            raise RuntimeError(f"the group of {self.name} is not created yet")
        return self.group

    def is_of(self, group_id: str) -> bool:
        """Return whether this is the id of the group."""
        return self.group is not None and group_id == str(self.group.id)

    def number_of(self, author: Author) -> int:
        """Return the person's number, -1 for somebody who is not in the log."""
        return self.numbers.get(author.id, -1)


class Member:
    """One user. `home` chooses the gateway to begin at; `line_s` is the deadline of one message."""

    def __init__(
        self,
        number: int,
        user: User,
        room: Room,
        rest: Rest,
        counts: Counts,
        *,
        home: int,
        ways: Ways,
        gate: asyncio.Semaphore,
        line_s: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.number = number
        self.user = user
        self.session = Session(user.token, home, ways, self, counts, gate, clock)
        self.is_inside = False
        self._room = room
        self._rest = rest
        self._counts = counts
        self._tells_positions = ways.tells_positions
        self._line_s = line_s
        self._clock = clock
        self._asking = Asking()
        # Where it stands in the channel.
        self._sees = asyncio.Event()
        self._sees_not = asyncio.Event()
        self._sees_not.set()
        self._told_in_group = 0
        """The group's seq that the session told last of: of a join or of a leave."""
        self._position: int | None = None
        self._has_received = False
        self._is_leaving = False
        self._told_to = 0
        """The seq that the session told last of: its snapshot's head, or a live message's."""
        self._base = 0
        """Up to this seq the member had seen everything when its session began behind that."""
        # What may be told again.
        self._heard: deque[tuple[float, int]] = deque(maxlen=_HEARD)
        self._lost_at = 0.0
        self._repeats_above: int | None = None
        """From the loss of a connection until RESUMED, if positions are not told: messages above it may come again."""

    @property
    def position(self) -> int:
        """The seq up to which it has seen the channel."""
        return self._position or 0

    # What its session tells.

    def begin(self, ready: Ready) -> None:
        """Take in that a new session begins."""
        self._repeats_above = None
        self._told_in_group = 0
        if not any(self._room.is_of(group.id) for group in ready.guilds):
            self._be_outside()

    def positions(self) -> Mapping[str, int]:
        """Return how far it is in its channel."""
        group = self._room.group
        return {str(group.channel_id): self.position} if group is not None and self.position else {}

    def lost(self) -> None:
        """Take in that the connection is gone: what was not answered has to be asked again."""
        self._asking.lost()
        if self._tells_positions or self._repeats_above is not None:
            return
        self._lost_at = self._clock()
        recent = [seq for at, seq in self._heard if at >= self._lost_at - REPEATS_S]
        self._repeats_above = min(recent, default=self.position + 1) - 1

    def invalid(self) -> None:
        """Take in that the session can't go on; `begin` follows."""

    def resumed(self) -> None:
        """Take in that all that was missed has come."""
        self._repeats_above = None

    async def take(self, frame: Frame) -> None:
        """Take in a frame."""
        if frame.t == "MESSAGE_CREATE":
            self._hear(decode_message(frame.d), is_live=True)
        elif frame.t == "GUILD_CREATE":
            await self._see(decode_guild(frame.d))
        elif frame.t == "GUILD_DELETE":
            self._see_no_more(decode_guild_delete(frame.d))
        else:
            self._asking.take(frame)

    # What it sees of the channel.

    async def _see(self, guild: GuildCreate) -> None:
        """Take in the group's body: its head says from where on messages come live."""
        if not self._room.is_of(guild.id):
            return
        is_join = guild.seq > 0
        if is_join and (guild.seq < self._told_in_group or (guild.seq == self._told_in_group and self._sees.is_set())):
            return  # told again
        self._told_in_group = guild.seq
        channel_id = self._room.require_group().channel_id
        (head,) = (one.last_seq for one in guild.channels if one.id == str(channel_id))
        self._told_to = head
        self._base = 0
        if self._position is None or (head < self._position and not self._has_received):
            self._position = head
        elif is_join and self._has_received:
            pass  # it is the same stay: a session that goes on owes what lies between
        elif head < self._position:
            self._base = self._position  # another node, which is a little behind: it tells again what we saw
        else:
            await self._catch_up(head)
        self._sees_not.clear()
        self._sees.set()

    def _see_no_more(self, guild: GuildDelete) -> None:
        if self._room.is_of(guild.id) and guild.seq > self._told_in_group:
            self._told_in_group = guild.seq
            self._be_outside(is_told=True)

    def _be_outside(self, *, is_told: bool = False) -> None:
        """Take in that the session is not (any more) in the group."""
        if self._sees.is_set() and self._is_leaving and not is_told:
            self._room.account.excuse(self.number, self.position)
            self._counts.excused += 1
        self._sees.clear()
        self._sees_not.set()

    async def _catch_up(self, head: int) -> None:
        """Read what lies between our position and the head."""
        group = self._room.require_group()
        after, is_more = self.position, True
        while after < head and is_more:
            try:
                events, is_more = await self._rest.events(self.user, group.channel_id, after)
            except Refused:
                if self._is_leaving:
                    self._room.account.excuse(self.number, self.position)
                    self._counts.excused += 1
                    return
                raise
            for event in events:
                after = event["seq"]
                if after <= head and event["t"] == "MESSAGE_CREATE":
                    if self._has_received:
                        self._counts.refetched += 1
                    else:
                        self._counts.caught_up += 1
                    self._hear(msgspec.convert(event["d"], Message), is_live=False)
        self._position = max(self.position, head)

    def _hear(self, message: Message, *, is_live: bool) -> None:
        group = self._room.group
        if group is None or message.channel_id != str(group.channel_id):
            return
        seq = message.seq
        if is_live:
            if self._told_to < seq <= self._base:
                self._counts.seen_again += 1
                self._told_to = seq
                return
            self._told_to = max(self._told_to, seq)
            if self._is_repeat(int(message.id), seq):
                return
            self._heard.append((self._clock(), seq))
        self._has_received = True
        self._position = max(self.position, seq)
        author = self._room.number_of(message.author)
        live_s = self._clock() if is_live else 0.0
        self._room.account.received(
            self.number, int(message.id), seq, str(message.nonce), author, message.content, live_s
        )

    def _is_repeat(self, message_id: int, seq: int) -> bool:
        """Return whether this was told before, and may be told again now."""
        if self._repeats_above is None or not self._repeats_above < seq <= self.position:
            return False
        if not self._room.account.repeated(self.number, message_id, seq):
            return False
        ages = (self._lost_at - at for at, one in self._heard if one == seq)
        self._counts.oldest_repeat_s = max((self._counts.oldest_repeat_s, *ages))
        return True

    # What it does.

    async def create_group(self, name: str) -> None:
        """Create the group of the log and be its owner."""
        self._room.account.join_sent(self.number)
        self._room.group = await self._rest.create_group(self.user, name)
        self._be_inside(self._room.group)

    async def join(self) -> None:
        """Join the group; returns when that is answered."""
        await self._told(self._sees_not, "GUILD_DELETE")
        self._position = None
        self._has_received = False
        self._room.account.join_sent(self.number)
        self._be_inside(await self._rest.join(self.user, self._room.name))

    def _be_inside(self, group: Group) -> None:
        self._room.account.join_answered(self.number)
        self.is_inside = True
        if self._position is None:
            self._position = group.last_seq

    async def leave(self) -> None:
        """Leave the group; returns when that is answered."""
        await self._told(self._sees, "GUILD_CREATE")
        self._is_leaving = True
        self.is_inside = False
        self._room.account.leave_sent(self.number)
        await self._rest.leave(self.user, self._room.require_group().id)
        self._room.account.leave_answered(self.number)
        await self._told(self._sees_not, "GUILD_DELETE")
        self._is_leaving = False

    async def _told(self, event: asyncio.Event, what: str) -> None:
        """Wait until the session was told of the membership as REST has it already. Raises `GaveUp`."""
        try:
            async with asyncio.timeout(self._line_s):
                await event.wait()
        except TimeoutError:
            raise GaveUp(f"no {what} came to user {self.user.id} within {self._line_s:g} s") from None

    async def wait_ready(self) -> None:
        """Wait until its session is open. Raises `GaveUp`."""
        try:
            async with asyncio.timeout(self._line_s):
                await self.session.wait_ready()
        except TimeoutError:
            address = self.session.address
            raise GaveUp(f"user {self.user.id} could not connect to {address} in {self._line_s:g} s") from None

    async def say(self, nonce: str, content: str) -> None:
        """Send a message until it is acknowledged. Raises `GaveUp`."""
        account = self._room.account
        account.sent(nonce, self.number, content, self._clock())
        last: Any = "not connected"
        try:
            async with asyncio.timeout(self._line_s):
                while True:
                    await self.session.wait_ready()
                    channel_id = self._room.require_group().channel_id
                    answer = await self._asking.ask(self.session, channel_id, nonce, content)
                    if isinstance(answer, Ack):
                        account.acked(nonce, int(answer.id), answer.seq, self._clock())
                        return
                    last = answer or "the connection was cut, or no answer came"
                    if answer is not None and answer.retry_after is None:
                        raise GaveUp(f"message {nonce} was refused: {answer.code} {answer.message}")
                    self._counts.retries += 1
                    await asyncio.sleep(_AGAIN_S if answer is None else answer.retry_after or _AGAIN_S)
        except TimeoutError:
            raise GaveUp(f"message {nonce} was not acknowledged within {self._line_s:g} s; last: {last}") from None
