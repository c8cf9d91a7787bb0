"""People in a run: users with sessions that resume, who say, change, read, come and go, and note all of it.

Shells. The session is `deploy.replay.session`'s, as in a replay; here is who listens to it and what is written down.
The order of the notes is what the judge stands on: before something is asked, after it was answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import msgspec

from deploy.replay.frames import (
    MESSAGE_SEND,
    SEND_ACK,
    SEND_REJECT,
    Ack,
    Frame,
    GuildCreate,
    GuildDelete,
    Ready,
    Reject,
    decode_ack,
    decode_guild,
    decode_guild_delete,
    decode_message,
    decode_reject,
)
from deploy.replay.rest import Counts, GaveUp, Group, Refused, Rest, User
from deploy.replay.session import Session, Ways
from tests.chaos import history as told
from tests.chaos.history import NOBODY, History
from tests.chaos.stored import CREATE, DELETE

ASK_S: Final = 15.0
"""How long an answer to op 100 may take; the gateway answers within 10 s if it lives."""
_AGAIN_S: Final = 0.2
_UPDATE: Final = "MESSAGE_UPDATE"


class _Gone(msgspec.Struct):
    id: str
    channel_id: str
    seq: int


_decode_gone: Final = msgspec.json.Decoder(_Gone).decode


@dataclass
class Room:
    """A group and its channel, with who is in it. `seq` is the highest that was acknowledged."""

    name: str
    group: Group
    owner: Person
    inside: set[int] = field(default_factory=set)
    seq: int = 0
    own: dict[int, Person] = field(default_factory=dict)
    """The authors of messages that may still be changed, by id."""

    @property
    def channel(self) -> int:
        """The channel's id."""
        return self.group.channel_id


class World:
    """What all people of a run share."""

    def __init__(self, history: History, rest: Rest, ways: Ways, counts: Counts, clock: Callable[[], float]) -> None:
        self.history = history
        self.rest = rest
        self.ways = ways
        self.counts = counts
        self.clock = clock
        self.gate = asyncio.Semaphore(64)
        self.numbers: dict[str, int] = {}
        """By user id."""
        self.channels: set[int] = set()
        self.unanswered: list[str] = []
        self._sessions = count(1)
        self._looks = count(1)
        self._nonces = count(1)

    def note(self, kind: type[told.Record], *values: Any) -> None:
        """Write down what is so now."""
        self.history.note(kind(self.clock(), *values))

    def next_session(self) -> int:
        """Return the number of a new session."""
        return next(self._sessions)

    def next_look(self) -> int:
        """Return the number of a new reading."""
        return next(self._looks)

    def next_nonce(self) -> str:
        """Return a new nonce."""
        return f"c{next(self._nonces)}"


class Person:
    """A user with a session. Half of all tell positions when they resume."""

    def __init__(self, number: int, user: User, world: World) -> None:
        self.number = number
        self.user = user
        self._world = world
        self._tells_positions = number % 2 == 0
        ways = Ways(world.ways.gateways, tells_positions=self._tells_positions, anew_s=world.ways.anew_s)
        self._ways = ways
        self.session = self._new_session()
        self._number = 0
        """The session's; 0 while there is none."""
        self._life: asyncio.Task[None] | None = None
        self._answers: dict[str, asyncio.Future[Ack | Reject]] = {}
        self.positions_seen: dict[int, int] = {}
        """By channel that the session is in, the last seq that it was told."""
        self._channels: dict[str, tuple[int, ...]] = {}
        """The channels of each group that the session was told of."""

    # Its session.

    def _new_session(self) -> Session:
        world = self._world
        return Session(self.user.token, self.number, self._ways, self, world.counts, world.gate, world.clock)

    def come(self, tasks: asyncio.TaskGroup) -> None:
        """Begin a session; it goes on until `go`."""
        self.session = self._new_session()
        self._life = tasks.create_task(self.session.run())

    async def go(self) -> None:
        """End the session, as a client does that will not come back to it."""
        await self.session.wait_ready()
        number, self._number = self._number, 0
        self._world.note(told.Ended, number)
        await self.session.hang_up()
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)
        self._life = None

    def stop(self) -> None:
        """Drop the session without a word: the run is over."""
        if self._life is not None:
            self._life.cancel()

    @property
    def is_open(self) -> bool:
        """Whether the session is open, and nothing missed is under way."""
        return self.session.is_open

    @property
    def is_there(self) -> bool:
        """Whether the session is meant to be open."""
        return self._life is not None

    def _note(self, kind: type[told.Record], *values: Any) -> None:
        if self._number:
            self._world.note(kind, self._number, *values)

    def begin(self, ready: Ready) -> None:
        """Take in that a new session begins."""
        self._number = self._world.next_session()
        self.positions_seen.clear()
        self._note(told.Began, self.number, self._tells_positions, ready.session_id.partition(".")[0])

    def positions(self) -> Mapping[str, int]:
        """Return how far the session is in each channel."""
        return {str(channel): seq for channel, seq in self.positions_seen.items() if seq}

    def lost(self) -> None:
        """Take in that the connection is gone."""
        for answer in self._answers.values():
            answer.cancel()
        self._answers.clear()
        self._note(told.Lost)

    def resumed(self) -> None:
        """Take in that all that was missed has come."""
        self._note(told.Resumed)

    def invalid(self) -> None:
        """Take in that the session can't go on."""
        self._note(told.Invalid)
        self._number = 0

    async def take(self, frame: Frame) -> None:
        """Take in a frame."""
        match frame.t:
            case "MESSAGE_CREATE" | "MESSAGE_UPDATE":
                message = decode_message(frame.d)
                made: tuple[Any, ...] = ()
                if frame.t == CREATE:
                    author = self._world.numbers.get(message.author.id, NOBODY)
                    made = (str(message.nonce), author, message.content)
                self._hear(frame, message.channel_id, message.seq, message.id, *made)
            case "MESSAGE_DELETE":
                gone = _decode_gone(frame.d)
                self._hear(frame, gone.channel_id, gone.seq, gone.id)
            case "GUILD_CREATE":
                self._see(decode_guild(frame.d))
            case "GUILD_DELETE":
                self._see_no_more(decode_guild_delete(frame.d))
        if frame.op == SEND_ACK:
            ack = decode_ack(frame.d)
            self._settle(ack.nonce, ack)
        elif frame.op == SEND_REJECT:
            reject = decode_reject(frame.d)
            self._settle(reject.nonce, reject)

    def _hear(self, frame: Frame, channel_id: str, seq: int, message_id: str, *made: Any) -> None:
        channel = int(channel_id)
        if channel not in self._world.channels:
            return
        self._note(told.Heard, frame.s, channel, seq, frame.t, int(message_id), *made)
        if channel in self.positions_seen:
            self.positions_seen[channel] = max(self.positions_seen[channel], seq)

    def _see(self, guild: GuildCreate) -> None:
        place = guild.seq or guild.last_seq
        self._channels[guild.id] = tuple(int(one.id) for one in guild.channels)
        for one in guild.channels:
            self._note(told.Seen, int(one.id), one.last_seq, place)
            self.positions_seen[int(one.id)] = max(one.last_seq, self.positions_seen.get(int(one.id), 0))

    def _see_no_more(self, guild: GuildDelete) -> None:
        for channel in self._channels.pop(guild.id, ()):
            self._note(told.Unseen, channel, guild.seq)
            self.positions_seen.pop(channel, None)

    def _settle(self, nonce: str, answer: Ack | Reject) -> None:
        if (waiting := self._answers.pop(nonce, None)) is not None and not waiting.done():
            waiting.set_result(answer)

    # What it does.

    async def say(self, room: Room, nonce: str, content: str, deadline_s: float, *, by_rest: bool) -> int | None:
        """Send a message until it is answered; return its id, None if it was refused or never answered."""
        try:
            async with asyncio.timeout(deadline_s):
                while True:
                    self._world.note(told.Sent, self.number, room.channel, nonce, content)
                    answer: Ack | Reject | None
                    if by_rest or not self.is_there:
                        answer = await self._post(room, nonce, content)
                    else:
                        await self.session.wait_ready()
                        answer = await self._ask(room, nonce, content)
                    if isinstance(answer, Ack):
                        self._world.note(told.Acked, self.number, room.channel, nonce, int(answer.id), answer.seq)
                        room.seq = max(room.seq, answer.seq)
                        return int(answer.id)
                    if answer is not None and answer.retry_after is None:
                        self._world.note(told.Refused, self.number, room.channel, nonce, answer.code)
                        return None
                    self._world.counts.retries += 1
                    await asyncio.sleep(_AGAIN_S if answer is None else answer.retry_after or _AGAIN_S)
        except (TimeoutError, GaveUp) as error:
            self._world.unanswered.append(f"message {nonce} of {self.number} was never answered: {error}")
            return None

    async def _ask(self, room: Room, nonce: str, content: str) -> Ack | Reject | None:
        """Send a message once on the session; None if there was no answer."""
        answer: asyncio.Future[Ack | Reject] = asyncio.get_running_loop().create_future()
        self._answers[nonce] = answer
        try:
            async with asyncio.timeout(ASK_S):
                payload = {"channel_id": str(room.channel), "content": content, "nonce": nonce}
                if await self.session.send(MESSAGE_SEND, payload):
                    await asyncio.wait((answer,))
        except TimeoutError:
            self.session.cut()
        finally:
            self._answers.pop(nonce, None)
        return answer.result() if answer.done() and not answer.cancelled() else None

    async def _post(self, room: Room, nonce: str, content: str) -> Ack | Reject:
        """Send a message by REST until it is answered. Raises `GaveUp`."""
        try:
            message = await self._world.rest.send(self.user, room.channel, nonce, content)
        except Refused as refusal:
            return Reject(nonce, refusal.status, refusal.body)
        return Ack(nonce, message["id"], message["seq"])

    async def change(self, room: Room, message_id: int, content: str | None) -> bool:
        """Edit or delete a message, once; return whether that was answered as done."""
        self._world.note(told.Changing, self.number, room.channel, message_id, content)
        if not await self._world.rest.change(self.user, room.channel, message_id, content):
            return False
        self._world.note(told.Changed, self.number, room.channel, message_id, content)
        return True

    async def look(self, room: Room) -> None:
        """Read the latest messages, once; what is not answered says nothing."""
        number = self._world.next_look()
        self._world.note(told.Looking, number, self.number, room.channel)
        page = await self._world.rest.look(self.user, room.channel)
        if page is not None:
            self._world.note(told.Looked, number, tuple((int(one["id"]), one["seq"]) for one in page))

    async def join(self, room: Room) -> None:
        """Join a room's group. Raises `GaveUp`."""
        self._world.note(told.Joining, self.number, room.channel)
        await self._world.rest.join(self.user, room.name)
        room.inside.add(self.number)

    async def leave(self, room: Room, *, kicked: bool) -> None:
        """Leave a room's group, or be removed by its owner. Raises `GaveUp`."""
        room.inside.discard(self.number)
        if kicked:
            await self._world.rest.kick(room.owner.user, room.group.id, self.user.id)
        else:
            await self._world.rest.leave(self.user, room.group.id)
        self._world.note(told.Removed, self.number, room.channel)


def event_of(at: float, channel: int, event: Mapping[str, Any], numbers: Mapping[str, int]) -> told.Event:
    """Return an event of a channel as REST tells it."""
    d = event["d"] or {}
    made: tuple[Any, ...] = ()
    if event["t"] == CREATE:
        made = (str(d.get("nonce", "")), numbers.get(d["author"]["id"], NOBODY), d["content"])
    known = event["t"] in (CREATE, _UPDATE, DELETE)
    return told.Event(at, channel, event["seq"], event["t"], int(d["id"]) if known else 0, *made)
