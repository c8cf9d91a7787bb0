"""Sending a message: judging what the client gave, and making the command of it. For op 100 and REST alike.

Ring 1 (core). Alone a service refuses only what is malformed or over budget; a refusal by permission of a send
with a nonce travels to the shard, where the nonce may be stored already (rule 10 of docs/rules.md).
"""

from __future__ import annotations

from typing import Final

import msgspec

from shared.core.calls import Access
from shared.core.commands import COMMAND_LIFETIME_MS, SendMessage
from shared.core.errors import EmptyMessage, InvalidForm, MissingAccess, MissingPermissions, NotText, StarlingError
from shared.core.ids import MAX_ID
from shared.core.model import Channel, ChannelType, User
from shared.core.permissions import Permission
from shared.core.wire import id_of

NONCE_CHARACTERS: Final = 25


class Draft(msgspec.Struct, frozen=True):
    """A message that is well-formed."""

    channel_id: int
    content: str
    nonce: str = ""
    reference_id: int = 0


class Place(msgspec.Struct, frozen=True):
    """Where a message goes, and what the user may do there by the facts of `group_seq`.

    `refusal`: why the user may not send, "" if that is allowed. `permissions`: bits of `Permission`.
    """

    group_id: int
    to: tuple[int, ...]
    group_seq: int
    refusal: str
    permissions: int


def nonce_of(value: object) -> str | None:
    """Return a nonce as it is stored: text of 1 to 25 characters; "" for none, None if it is not valid.

    Integers are accepted, as Discord does.
    """
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_ID:
        return str(value)
    if isinstance(value, str) and 0 < len(value) <= NONCE_CHARACTERS and "\0" not in value:
        return value
    return None


def draft_of(
    channel_id: object, content: object, nonce: object, reference: object, content_characters: int
) -> Draft | StarlingError:
    """Judge the fields of a message; content is counted in code points, as Discord counts."""
    channel = id_of(channel_id)
    if channel is None:
        return _invalid("channel_id", "NUMBER_TYPE_COERCE", "Value is not a snowflake.")
    its_nonce = nonce_of(nonce)
    if its_nonce is None:
        text = f"Must be an integer, or a string of 1 to {NONCE_CHARACTERS} characters."
        return _invalid("nonce", "BASE_TYPE_BAD_LENGTH", text)
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
    if reference is None:
        return Draft(channel, content, its_nonce)
    reference_id = id_of(reference.get("message_id")) if isinstance(reference, dict) else None
    if reference_id is None:
        return _invalid("message_reference.message_id", "NUMBER_TYPE_COERCE", "Value is not a snowflake.")
    return Draft(channel, content, its_nonce, reference_id)


def _invalid(field: str, code: str, message: str) -> InvalidForm:
    return InvalidForm({field: [(code, message)]})


def place_of(channel: Channel, group_seq: int, permissions: int) -> Place:
    """Return where a channel's messages go and whether a user with these permissions may send one."""
    refusal = ""
    if not permissions & Permission.VIEW_CHANNEL:
        refusal = MissingAccess.__name__
    elif not permissions & Permission.SEND_MESSAGES:
        refusal = MissingPermissions.__name__
    elif channel.type is ChannelType.CATEGORY:
        refusal = NotText.__name__
    if channel.type is ChannelType.DIRECT:
        return Place(0, tuple(dict.fromkeys(user.id for user in channel.recipients)), 0, refusal, permissions)
    return Place(channel.group_id, (), group_seq, refusal, permissions)


def place_of_access(access: Access) -> Place | None:
    """Return the place that groups tells; None if there is no such channel."""
    if access.channel is None:
        return None
    return place_of(access.channel, access.group_seq, access.permissions)


def command_of(
    draft: Draft,
    author: User,
    place: Place,
    *,
    command_id: int,
    reply_to: str,
    now_ms: int,
    enforce_nonce: bool = True,
) -> SendMessage:
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
        enforce_nonce=enforce_nonce,
    )
