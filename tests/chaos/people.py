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

from deploy.replay.asking import Asking
from deploy.replay.frames import (
    Ack,
    Channel,
    Frame,
    GuildCreate,
    GuildDelete,
    Ready,
    Reject,
    decode_channel,
    decode_guild,
    decode_guild_delete,
    decode_message,
)
from deploy.replay.rest import Counts, GaveUp, Refused, Rest, User
from deploy.replay.session import Session, Ways
from tests.chaos import history as told
from tests.chaos.history import DOORS, NOBODY, PIN, History
from tests.chaos.stored import CREATE, DELETE

ANSWER_S: Final = 150.0
"""How long one thing may take, over all tries: above any fault, and the time after which a command is forgotten."""
_AGAIN_S: Final = 0.2
_OPEN_S: Final = 10.0
_REFUSALS: Final = 4
"""So many in a row: any process of a service may answer."""
_UPDATE: Final = "MESSAGE_UPDATE"
_REACTED: Final = ("MESSAGE_REACTION_ADD", "MESSAGE_REACTION_REMOVE")


class _Gone(msgspec.Struct):
    id: str
    channel_id: str
    seq: int


class _Emoji(msgspec.Struct):
    name: str


class _Reaction(msgspec.Struct):
    message_id: str
    channel_id: str
    user_id: str
    seq: int
    emoji: _Emoji


_decode_gone: Final = msgspec.json.Decoder(_Gone).decode
_decode_reaction: Final = msgspec.json.Decoder(_Reaction).decode


@dataclass
class Room:
    """A channel with who is in it: of a group, which has a name, or a direct one."""

    channel: int
    owner: Person
    inside: set[int]
    group_id: int = 0
    name: str = ""
    own: dict[int, Person] = field(default_factory=dict)
    """The authors of messages that may still be changed, by id."""
    marks: set[tuple[int, str, int]] = field(default_factory=set)
    """What is known to be on them: message, mark, who put it there."""


class World:
    """What all people of a run share."""

    def __init__(
        self, history: History, rest: Rest, ways: Ways, counts: Counts, clock: Callable[[], float], password: str
    ) -> None:
        self.history = history
        self.rest = rest
        self.password = password
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
    """A user with a session. `busy` is held by who does something in the person's name, but for reading."""

    def __init__(self, number: int, name: str, user: User, world: World, *, tells_positions: bool) -> None:
        self.number = number
        self.user = user
        self.busy = asyncio.Lock()
        self._name = name
        self._world = world
        self._tells_positions = tells_positions
        self._ways = Ways(world.ways.gateways, tells_positions=tells_positions, anew_s=world.ways.anew_s)
        self._is_out = False
        """Whether its token is revoked, or is just being revoked."""
        self.session = self._new_session()
        self._number = 0
        """The session's; 0 while there is none."""
        self._life: asyncio.Task[None] | None = None
        self._asking = Asking()
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
        self._life = tasks.create_task(self._live())

    async def _live(self) -> None:
        try:
            await self.session.run()
        except GaveUp:
            if not self._is_out:
                raise

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

    async def log_out(self) -> None:
        """Revoke the token, wait until it opens nothing any more, and log in again. Raises `GaveUp`."""
        await self.session.wait_ready()
        number, user, life = self._number, self.user, self._life
        if life is None or not number:
            return
        self._is_out = True
        await self._world.rest.log_out(user)
        self._world.note(told.LoggedOut, self.number, number)
        try:
            async with asyncio.timeout(ANSWER_S), asyncio.TaskGroup() as tasks:
                for door in DOORS:
                    tasks.create_task(self._wait_kept_out(number, user, life, door))
        except TimeoutError:
            life.cancel()  # the judge sees which door is open
        self._number, self._life = 0, None
        self._world.note(told.LoggingIn, self.number)
        self.user = await self._world.rest.log_in(self._name, self._world.password)
        self._is_out = False

    async def _wait_kept_out(self, number: int, user: User, life: asyncio.Task[None], door: str) -> None:
        if door == "gateway":
            await asyncio.wait((life,))
        refusals = 0
        while door != "gateway" and refusals < _REFUSALS:
            channel = min(self._world.channels) if door == "history" else None
            is_kept_out = await self._world.rest.keeps_out(user, channel)
            refusals = refusals + 1 if is_kept_out else 0
            if not is_kept_out:
                await asyncio.sleep(_AGAIN_S)
        self._world.note(told.KeptOut, number, door)

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
        for channel in ready.private_channels:
            self._see_direct(channel)

    def positions(self) -> Mapping[str, int]:
        """Return how far the session is in each channel."""
        return {str(channel): seq for channel, seq in self.positions_seen.items() if seq}

    def lost(self) -> None:
        """Take in that the connection is gone."""
        self._asking.lost()
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
                made: tuple[str, int] = ("", NOBODY)
                if frame.t == CREATE:
                    made = (str(message.nonce), self._world.numbers.get(message.author.id, NOBODY))
                self._hear(frame, message.channel_id, message.seq, message.id, *made, message.content)
            case "MESSAGE_DELETE":
                gone = _decode_gone(frame.d)
                self._hear(frame, gone.channel_id, gone.seq, gone.id)
            case "MESSAGE_REACTION_ADD" | "MESSAGE_REACTION_REMOVE":
                one = _decode_reaction(frame.d)
                who = self._world.numbers.get(one.user_id, NOBODY)
                self._hear(frame, one.channel_id, one.seq, one.message_id, "", who, one.emoji.name)
            case "CHANNEL_CREATE":
                if not (channel := decode_channel(frame.d)).guild_id:
                    self._see_direct(channel)
            case "GUILD_CREATE":
                self._see(decode_guild(frame.d))
            case "GUILD_DELETE":
                self._see_no_more(decode_guild_delete(frame.d))
            case _:
                self._asking.take(frame)

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

    def _see_direct(self, channel: Channel) -> None:
        self._note(told.Seen, int(channel.id), channel.last_seq, 0)
        self.positions_seen.setdefault(int(channel.id), channel.last_seq)

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
                        answer = await self._ask(room, nonce, content)
                    if isinstance(answer, Ack):
                        self._world.note(told.Acked, self.number, room.channel, nonce, int(answer.id), answer.seq)
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
        """Send a message once by the session; None if there was no answer, or if that session does not open."""
        session = self.session
        try:
            async with asyncio.timeout(_OPEN_S):
                await session.wait_ready()
        except TimeoutError:
            return None  # if this one has ended, there is another by now
        return await self._asking.ask(session, room.channel, nonce, content)

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

    async def mark(self, room: Room, message_id: int, mark: str, *, on: bool) -> bool:
        """React to a message or pin it, or take that back, once; return whether that was answered as done."""
        self._world.note(told.Marking, self.number, room.channel, message_id, mark, on)
        rest = self._world.rest
        if mark == PIN:
            is_done = await rest.pin(self.user, room.channel, message_id, on=on)
        else:
            is_done = await rest.react(self.user, room.channel, message_id, mark, on=on)
        if is_done:
            self._world.note(told.Marked, self.number, room.channel, message_id, mark, on)
            key = (message_id, mark, self.number)
            room.marks.add(key) if on else room.marks.discard(key)
        return is_done

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
        self._world.note(told.Joined, self.number, room.channel)
        room.inside.add(self.number)

    async def leave(self, room: Room, *, kicked: bool) -> None:
        """Leave a room's group, or be removed by its owner. Raises `GaveUp`."""
        room.inside.discard(self.number)
        if kicked:
            await self._world.rest.kick(room.owner.user, room.group_id, self.user.id)
        else:
            await self._world.rest.leave(self.user, room.group_id)
        self._world.note(told.Removed, self.number, room.channel)


def event_of(at: float, channel: int, event: Mapping[str, Any], numbers: Mapping[str, int]) -> told.Event:
    """Return an event of a channel as REST tells it."""
    d = event["d"] or {}
    made: tuple[Any, ...] = ()
    if event["t"] == CREATE:
        made = (str(d.get("nonce", "")), numbers.get(d["author"]["id"], NOBODY), d["content"])
    about = d["id"] if event["t"] in (CREATE, _UPDATE, DELETE) else d["message_id"] if event["t"] in _REACTED else 0
    return told.Event(at, channel, event["seq"], event["t"], int(about), *made)
