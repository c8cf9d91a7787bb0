"""What the load looks at in frames, and what it sends. Everything else in them is passed over.

Core: the shapes as docs/protocol.md has them. Raises msgspec's errors when a server sends something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from deploy.load.frames import text_of
from deploy.replay.frames import HEARTBEAT, IDENTIFY, MESSAGE_SEND, RESUME, Channel, Ref, encode_frame

_INTENTS: Final = 1 << 0 | 1 << 9 | 1 << 12 | 1 << 15
"""Groups, messages in groups and direct channels, and their content."""
MESSAGE_CREATE: Final = b'{"t":"MESSAGE_CREATE"'
"""How the frames begin that are most of all."""


class Message(msgspec.Struct):
    """An event of a channel."""

    channel_id: str
    seq: int
    nonce: str | int | None = None


class MessageFrame(msgspec.Struct):
    """A dispatch of one."""

    d: Message
    s: int


class Guild(msgspec.Struct):
    """The body of a group."""

    channels: list[Channel]


class Ready(msgspec.Struct):
    """A new session, the groups that will be shown, and direct channels."""

    session_id: str
    guilds: list[Ref]
    private_channels: list[Channel]


class Hello(msgspec.Struct):
    """How often to send heartbeats, in ms."""

    heartbeat_interval: int


decode_message_frame = msgspec.json.Decoder(MessageFrame).decode
decode_message = msgspec.json.Decoder(Message).decode
decode_channel = msgspec.json.Decoder(Channel).decode
decode_guild = msgspec.json.Decoder(Guild).decode
decode_ready = msgspec.json.Decoder(Ready).decode
decode_hello = msgspec.json.Decoder(Hello).decode


def identify_of(token: str) -> bytes:
    """Return what begins a session."""
    return text_of(encode_frame(IDENTIFY, {"token": token, "properties": {}, "intents": _INTENTS}))


def resume_of(token: str, session_id: str, s: int, positions: Mapping[str, int] | None) -> bytes:
    """Return what goes on with a session. `positions`: the last seq by channel id, if they are to be told."""
    d: dict[str, object] = {"token": token, "session_id": session_id, "seq": s}
    if positions is not None:
        d["positions"] = positions
    return text_of(encode_frame(RESUME, d))


def heartbeat_of(s: int) -> bytes:
    """Return a sign of life."""
    return text_of(encode_frame(HEARTBEAT, s))


def send_of(channel_id: str, content: str, nonce: str) -> bytes:
    """Return a message to a channel."""
    return text_of(encode_frame(MESSAGE_SEND, {"channel_id": channel_id, "content": content, "nonce": nonce}))
