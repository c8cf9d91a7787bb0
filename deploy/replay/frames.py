"""What a client looks at in the frames of the gateway and the answers of REST; everything else is passed over.

Core: the shapes as docs/protocol.md has them. Raises msgspec's errors when a server sends something else.
"""

from __future__ import annotations

from typing import Final

import msgspec

HEARTBEAT: Final = 1
IDENTIFY: Final = 2
RESUME: Final = 6
RECONNECT: Final = 7
INVALID_SESSION: Final = 9
MESSAGE_SEND: Final = 100
SEND_ACK: Final = 101
SEND_REJECT: Final = 102


class Frame(msgspec.Struct):
    """A frame of the gateway."""

    op: int
    d: msgspec.Raw
    t: str | None = None
    s: int | None = None


class Author(msgspec.Struct):
    """Who wrote a message."""

    id: str


class Message(msgspec.Struct):
    """What is looked at in a MESSAGE_CREATE, in an event and in a page."""

    id: str
    seq: int
    channel_id: str
    content: str
    author: Author
    nonce: str | int = ""


class Channel(msgspec.Struct):
    """A channel with its head. `guild_id` is empty in a direct channel."""

    id: str
    last_seq: int
    guild_id: str = ""


class GuildCreate(msgspec.Struct):
    """The body of a group. `seq`: of the join in the group's stream, 0 behind READY; `last_seq`: that stream's last."""

    id: str
    channels: list[Channel]
    seq: int = 0
    last_seq: int = 0


class GuildDelete(msgspec.Struct):
    """A group that one is out of, since `seq` of its stream."""

    id: str
    seq: int


class Ref(msgspec.Struct):
    """Something with an id."""

    id: str


class Ready(msgspec.Struct):
    """A new session, and the groups and direct channels that it is in."""

    session_id: str
    resume_gateway_url: str
    guilds: list[Ref]
    private_channels: list[Channel] = []


class Ack(msgspec.Struct):
    """SEND_ACK: the message is stored."""

    nonce: str
    id: str
    seq: int


class Reject(msgspec.Struct):
    """SEND_REJECT: without `retry_after` for good."""

    nonce: str
    code: int
    message: str
    retry_after: float | None = None


decode_frame = msgspec.json.Decoder(Frame).decode
decode_message = msgspec.json.Decoder(Message).decode
decode_channel = msgspec.json.Decoder(Channel).decode
decode_guild = msgspec.json.Decoder(GuildCreate).decode
decode_ready = msgspec.json.Decoder(Ready).decode
decode_ack = msgspec.json.Decoder(Ack).decode
decode_reject = msgspec.json.Decoder(Reject).decode
decode_guild_delete = msgspec.json.Decoder(GuildDelete).decode


def encode_frame(op: int, d: object) -> bytes:
    """Encode a client's frame."""
    return msgspec.json.encode({"op": op, "d": d})
