"""Judging a MESSAGE_SEND, making its command, and telling its sender what became of it.

Ring 1 (core). Alone a node refuses only what is malformed or over budget; a refusal by permission of a send with a
nonce travels to the shard, where the nonce may be stored already (rule 10 of DESIGN.md section 10).
`services.gateway.sending` performs it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from services.gateway.core import frames
from services.gateway.core.frames import Op
from shared.core.calls import Access
from shared.core.commands import COMMAND_LIFETIME_MS, Reply, SendMessage
from shared.core.errors import EmptyMessage, InvalidForm, MissingAccess, MissingPermissions, StarlingError
from shared.core.model import Channel, ChannelType, User
from shared.core.wire import id_of

_RETRY_AFTER_S: Final = 1.0
"""When to try again after a retryable error that does not say it."""


class Draft(msgspec.Struct, frozen=True):
    """A message that is well-formed."""

    channel_id: int
    content: str
    nonce: str
    reference_id: int


class Place(msgspec.Struct, frozen=True):
    """Where a message goes, and what the user may do there by the facts of `group_seq`. `refusal`: nothing."""

    group_id: int
    to: tuple[int, ...]
    group_seq: int
    refusal: str


def draft_of(frame: frames.SendMessage, content_characters: int) -> Draft | StarlingError:
    """Judge the fields of a MESSAGE_SEND; content is counted in code points, as Discord counts."""
    channel_id = id_of(frame.channel_id)
    if channel_id is None:
        return _invalid("channel_id", "NUMBER_TYPE_COERCE", "Value is not a snowflake.")
    nonce = frames.nonce_of(frame.nonce)
    if nonce is None:
        return _invalid("nonce", "BASE_TYPE_BAD_LENGTH", "Must be an integer, or a string of 1 to 25 characters.")
    content = frame.content
    if content is None or content == "":
        return EmptyMessage()
    if not isinstance(content, str):
        return _invalid("content", "BASE_TYPE_STRING", "Must be a string.")
    if len(content) > content_characters:
        return _invalid("content", "BASE_TYPE_BAD_LENGTH", f"Must be {content_characters} or fewer in length.")
    if "\0" in content:
        return _invalid("content", "BASE_TYPE_STRING", "Must not contain NUL.")
    if not content.strip():
        return EmptyMessage()
    reference = frame.message_reference
    if reference is None:
        return Draft(channel_id, content, nonce, 0)
    reference_id = id_of(reference.get("message_id")) if isinstance(reference, dict) else None
    if reference_id is None:
        return _invalid("message_reference.message_id", "NUMBER_TYPE_COERCE", "Value is not a snowflake.")
    return Draft(channel_id, content, nonce, reference_id)


def _invalid(field: str, code: str, message: str) -> InvalidForm:
    return InvalidForm({field: [(code, message)]})


def place_of(channel: Channel, group_seq: int, *, can_view: bool, can_send: bool) -> Place:
    """Return where a channel's messages go and whether this user's may."""
    refusal = "" if can_send else MissingPermissions.__name__ if can_view else MissingAccess.__name__
    if channel.type is ChannelType.DIRECT:
        return Place(0, tuple(dict.fromkeys(user.id for user in channel.recipients)), 0, refusal)
    return Place(channel.group_id, (), group_seq, refusal)


def place_of_access(access: Access) -> Place | None:
    """Return the place that groups tells; None if there is no such channel."""
    if access.channel is None:
        return None
    return place_of(access.channel, access.group_seq, can_view=access.can_view, can_send=access.can_send)


def command_of(draft: Draft, author: User, place: Place, *, command_id: int, reply_to: str, now_ms: int) -> SendMessage:
    """Return the command that asks the channel's shard to store the message."""
    return SendMessage(
        command_id=command_id,
        channel_id=draft.channel_id,
        reply_to=reply_to,
        expires_at=now_ms + COMMAND_LIFETIME_MS,
        author=author,
        content=draft.content,
        nonce=draft.nonce,
        reference_id=draft.reference_id,
        group_id=place.group_id,
        to=place.to,
        group_seq=place.group_seq,
        refusal=place.refusal,
    )


def encode_ack(nonce: Any, reply: Reply) -> bytes:
    """Encode SEND_ACK: the message is stored. The nonce goes back as it came."""
    return frames.encode_frame(Op.SEND_ACK, {"nonce": nonce, "id": str(reply.id), "seq": reply.seq})


def encode_reject(nonce: Any, error: StarlingError) -> bytes:
    """Encode SEND_REJECT. With `retry_after` (seconds): try again with the same nonce; without: final."""
    told = {"nonce": _echo(nonce), "code": error.code, "message": _message_of(error)}
    if error.retryable:
        told["retry_after"] = round(error.retry_after or _RETRY_AFTER_S, 3)
    return frames.encode_frame(Op.SEND_REJECT, told)


def _message_of(error: StarlingError) -> str:
    if isinstance(error, InvalidForm):
        return "; ".join(f"{field}: {text}" for field, reasons in error.fields.items() for _, text in reasons)
    return error.text


def _echo(nonce: Any) -> Any:
    """Return a nonce that may be sent back as it came: not some object of any size."""
    return nonce if frames.nonce_of(nonce) else None
