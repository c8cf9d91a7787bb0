"""A member: one user of the log with a WebSocket of its own, which comes back whenever it is cut.

A client's shell. One task per member reads its socket; everything that a message meets on its way into the
`Account` happens there, one after the other, so what is counted is the order in which a person would have seen it.
There is no RESUME: a new session tells heads, and what lies between the last seq seen and the head is read from
`GET /channels/{id}/events`, while the socket holds back what comes live.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from deploy.replay.account import Account
from deploy.replay.frames import (
    HEARTBEAT,
    IDENTIFY,
    MESSAGE_SEND,
    SEND_ACK,
    SEND_REJECT,
    Ack,
    Author,
    GuildCreate,
    Message,
    Reject,
    decode_ack,
    decode_frame,
    decode_guild,
    decode_message,
    decode_ready,
    decode_ref,
    decode_reject,
    encode_frame,
)
from deploy.replay.rest import Counts, GaveUp, Group, Refused, Rest, User

BEAT_S: Final = 15
"""How often a heartbeat is sent; if nothing was heard between one and the next, the connection is dead."""
_OPEN_S: Final = 25.0
"""From connect to READY; the gateway gives itself 20 s."""
_ANSWER_S: Final = 15.0
"""How long an answer to op 100 may take; the gateway answers within 10 s if it lives."""
_FIRST_WAIT_S: Final = 0.1
_LAST_WAIT_S: Final = 3.0
_MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
_CLOSE_S: Final = 2.0


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

    def number_of(self, author: Author) -> int:
        """Return the person's number, -1 for somebody who is not in the log."""
        return self.numbers.get(author.id, -1)


class Member:
    """One user. `gate` bounds how many connect at the same time; `line_s` is the deadline of one message."""

    def __init__(
        self,
        number: int,
        user: User,
        room: Room,
        gateway: str,
        rest: Rest,
        counts: Counts,
        gate: asyncio.Semaphore,
        line_s: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.number = number
        self.user = user
        self.is_inside = False
        self._room = room
        self._url = f"{gateway.replace('http', 'ws', 1)}/gateway?v=10&encoding=json"
        self._rest = rest
        self._counts = counts
        self._gate = gate
        self._line_s = line_s
        self._clock = clock
        self._connection: ClientConnection | None = None
        self._ready = asyncio.Event()
        self._answers: dict[str, asyncio.Future[Ack | Reject]] = {}
        self._heard_at = 0.0
        self._beat_at = 0.0
        self._is_done = False
        # Where it stands in the channel.
        self._sees = asyncio.Event()
        self._sees_not = asyncio.Event()
        self._sees_not.set()
        self._position: int | None = None
        self._has_received = False
        self._is_leaving = False
        self._told_to = 0
        """The seq that the session told last of: its snapshot's head, or a live message's."""
        self._base = 0
        """Up to this seq the member had seen everything when its session began behind that."""

    @property
    def position(self) -> int:
        """The seq up to which it has seen the channel."""
        return self._position or 0

    # The socket.

    async def run(self) -> None:
        """Be connected until `hang_up`; come back whenever the connection ends otherwise."""
        wait_s = _FIRST_WAIT_S
        is_first = True
        while not self._is_done:
            try:
                async with self._gate, asyncio.timeout(_OPEN_S):
                    connection = await self._open()
            except (OSError, TimeoutError, WebSocketException, msgspec.MsgspecError):
                wait_s = min(2 * wait_s, _LAST_WAIT_S)
            else:
                wait_s = _FIRST_WAIT_S
                self._counts.reconnects += not is_first
                is_first = False
                await self._use(connection)
            await asyncio.sleep(wait_s * random.uniform(0.5, 1))  # noqa: S311 (spreads clients, no secret)

    async def hang_up(self) -> None:
        """Close the connection and stay away."""
        self._is_done = True
        if (connection := self._connection) is not None:
            await connection.close()

    async def wait_ready(self) -> None:
        """Wait until it is connected and identified. Raises `GaveUp`."""
        try:
            async with asyncio.timeout(self._line_s):
                await self._ready.wait()
        except TimeoutError:
            raise GaveUp(f"user {self.user.id} could not connect to {self._url} in {self._line_s:g} s") from None

    async def _open(self) -> ClientConnection:
        connection = await connect(
            self._url,
            compression=None,
            ping_interval=None,
            max_size=_MAX_FRAME_BYTES,
            close_timeout=_CLOSE_S,
            proxy=None,
            open_timeout=None,
        )
        try:
            await connection.send(encode_frame(IDENTIFY, {"token": self.user.token, "properties": {}}), text=True)
            while (frame := decode_frame(await connection.recv(decode=False))).t != "READY":
                pass
            guilds = {one.id for one in decode_ready(frame.d).guilds}
        except BaseException:
            connection.transport.abort()
            raise
        if self._room.group is None or str(self._room.group.id) not in guilds:
            self._be_outside()
        return connection

    async def _use(self, connection: ClientConnection) -> None:
        """Take in frames until the connection ends."""
        self._connection = connection
        self._heard_at = self._clock()
        self._beat_at = 0.0
        self._ready.set()
        try:
            while True:
                await self._take(await connection.recv(decode=False))
        except (WebSocketException, OSError):
            return
        finally:
            self._ready.clear()
            self._connection = None
            for answer in self._answers.values():
                answer.cancel()
            self._answers.clear()
            connection.transport.abort()

    async def beat(self) -> None:
        """Send a heartbeat, or cut the connection if nothing was heard since the last one."""
        if (connection := self._connection) is None:
            return
        if self._heard_at < self._beat_at:
            connection.transport.abort()
            return
        self._beat_at = self._clock()
        with suppress(WebSocketException, OSError, TimeoutError):
            async with asyncio.timeout(1):
                await connection.send(encode_frame(HEARTBEAT, None), text=True)

    async def _take(self, data: bytes) -> None:
        frame = decode_frame(data)
        self._heard_at = self._clock()
        if frame.t == "MESSAGE_CREATE":
            self._hear(decode_message(frame.d), is_live=True)
        elif frame.t == "GUILD_CREATE":
            await self._see(decode_guild(frame.d))
        elif frame.t == "GUILD_DELETE":
            if self._room.group is not None and decode_ref(frame.d).id == str(self._room.group.id):
                self._be_outside(is_told=True)
        elif frame.op == SEND_ACK:
            ack = decode_ack(frame.d)
            self._settle(ack.nonce, ack)
        elif frame.op == SEND_REJECT:
            reject = decode_reject(frame.d)
            self._settle(reject.nonce, reject)

    def _settle(self, nonce: str, answer: Ack | Reject) -> None:
        if (waiting := self._answers.pop(nonce, None)) is not None and not waiting.done():
            waiting.set_result(answer)

    # What it sees of the channel.

    async def _see(self, guild: GuildCreate) -> None:
        """Take in the group's body: its head says from where on messages come live."""
        group = self._room.require_group()
        if guild.id != str(group.id):
            return
        (head,) = (one.last_seq for one in guild.channels if one.id == str(group.channel_id))
        self._told_to = head
        self._base = 0
        if self._position is None or (head < self._position and not self._has_received):
            self._position = head
        elif head < self._position:
            self._base = self._position  # another node, which is a little behind: it tells again what we saw
        else:
            await self._catch_up(head)
        self._sees_not.clear()
        self._sees.set()

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
        self._has_received = True
        self._position = max(self.position, seq)
        author = self._room.number_of(message.author)
        live_s = self._clock() if is_live else 0.0
        self._room.account.received(
            self.number, int(message.id), seq, str(message.nonce), author, message.content, live_s
        )

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

    async def say(self, nonce: str, content: str) -> None:
        """Send a message until it is acknowledged. Raises `GaveUp`."""
        account = self._room.account
        account.sent(nonce, self.number, content, self._clock())
        last: Any = "not connected"
        try:
            async with asyncio.timeout(self._line_s):
                while True:
                    await self._ready.wait()
                    answer = await self._ask(nonce, content)
                    if isinstance(answer, Ack):
                        account.acked(nonce, int(answer.id), answer.seq, self._clock())
                        return
                    last = answer or "the connection was cut, or no answer came"
                    if answer is not None and answer.retry_after is None:
                        raise GaveUp(f"message {nonce} was refused: {answer.code} {answer.message}")
                    self._counts.retries += 1
                    await asyncio.sleep(_FIRST_WAIT_S if answer is None else answer.retry_after or _FIRST_WAIT_S)
        except TimeoutError:
            raise GaveUp(f"message {nonce} was not acknowledged within {self._line_s:g} s; last: {last}") from None

    async def _ask(self, nonce: str, content: str) -> Ack | Reject | None:
        """Send a message once; None if there was no answer."""
        connection = self._connection
        if connection is None:
            return None
        answer: asyncio.Future[Ack | Reject] = asyncio.get_running_loop().create_future()
        self._answers[nonce] = answer
        payload = {"channel_id": str(self._room.require_group().channel_id), "content": content, "nonce": nonce}
        try:
            async with asyncio.timeout(_ANSWER_S):
                await connection.send(encode_frame(MESSAGE_SEND, payload), text=True)
                await asyncio.wait((answer,))
        except TimeoutError:
            connection.transport.abort()
        except (WebSocketException, OSError):
            return None
        finally:
            self._answers.pop(nonce, None)
        return answer.result() if answer.done() and not answer.cancelled() else None
