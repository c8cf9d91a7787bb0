"""Drafts: judging what a client gave as a message, by Discord's rules. For op 100 and REST alike.

Ring 1 (core). Whatever comes, the answer is a well-formed draft or an error that names the field. What the author
may do with it is `shared.core.sending`'s question.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import msgspec

from shared.core.embeds import Json, embeds_of
from shared.core.errors import InvalidForm, StarlingError
from shared.core.ids import MAX_ID
from shared.core.mentions import NOBODY, Mentioned, allowed_of, mentioned_in
from shared.core.message_errors import EmptyMessage, UnknownReference
from shared.core.wire.values import id_of

NONCE_CHARACTERS: Final = 25
SUPPRESS_EMBEDS: Final = 1 << 2
SUPPRESS_NOTIFICATIONS: Final = 1 << 12
KEPT_FLAGS: Final = SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS
"""Flags that a sender may set; others are ignored."""
_REPLY: Final = 0
"""The type of a reference that is no forward."""


class Given(msgspec.Struct, frozen=True):
    """A message as a client gave it. The fields are judged one by one, so all types pass here."""

    channel_id: Any = None
    content: Any = None
    nonce: Any = None
    message_reference: Any = None
    allowed_mentions: Any = None
    embeds: Any = None
    flags: Any = None


class Reference(msgspec.Struct, frozen=True):
    """The message that a draft replies to. `required`: without that message there is none; else it is no reply then."""

    message_id: int
    required: bool = True


class Draft(msgspec.Struct, frozen=True):
    """A message that is well-formed. `calls_replied`: the author of the message replied to is mentioned, too."""

    channel_id: int
    content: str
    nonce: str = ""
    reference: Reference | None = None
    mentioned: Mentioned = NOBODY
    calls_replied: bool = True
    embeds: tuple[Json, ...] = ()
    flags: int = 0


class Edit(msgspec.Struct, frozen=True):
    """What a message is to become, well-formed; what is None stays as it is."""

    content: str | None = None
    mentioned: Mentioned = NOBODY
    embeds: tuple[Json, ...] | None = None
    flags: int | None = None


def draft_of(given: Given, content_characters: int) -> Draft | StarlingError:
    """Judge a message; content is counted in code points, as Discord counts."""
    channel_id = id_of(given.channel_id)
    if channel_id is None:
        return _invalid("channel_id", "NUMBER_TYPE_COERCE", "Value is not a snowflake.")
    nonce = nonce_of(given.nonce)
    if nonce is None:
        text = f"Must be an integer, or a string of 1 to {NONCE_CHARACTERS} characters."
        return _invalid("nonce", "BASE_TYPE_BAD_LENGTH", text)
    content = content_of(given.content, content_characters)
    if isinstance(content, StarlingError):
        return content
    embeds = embeds_of(given.embeds)
    if isinstance(embeds, StarlingError):
        return embeds
    if not content and not embeds:
        return EmptyMessage()
    allowed = allowed_of(given.allowed_mentions)
    if isinstance(allowed, StarlingError):
        return allowed
    flags = flags_of(given.flags)
    if isinstance(flags, StarlingError):
        return flags
    reference = _reference_of(given.message_reference, channel_id)
    if isinstance(reference, StarlingError):
        return reference
    mentioned = mentioned_in(content, allowed)
    return Draft(channel_id, content, nonce, reference, mentioned, allowed.replied_user, embeds, flags)


def edit_of(given: Given, told: Collection[str], content_characters: int) -> Edit | StarlingError:
    """Judge an edit. `told`: the names of the fields that the client gave; null is a value, too: nothing.

    Whether something is left to see is known only where the message is.
    """
    content = content_of(given.content, content_characters)
    if isinstance(content, StarlingError):
        return content
    embeds = embeds_of(given.embeds)
    if isinstance(embeds, StarlingError):
        return embeds
    allowed = allowed_of(given.allowed_mentions)
    if isinstance(allowed, StarlingError):
        return allowed
    flags = flags_of(given.flags)
    if isinstance(flags, StarlingError):
        return flags
    return Edit(
        content if "content" in told else None,
        mentioned_in(content, allowed),
        embeds if "embeds" in told else None,
        flags if "flags" in told else None,
    )


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


def content_of(value: object, content_characters: int) -> str | StarlingError:
    """Judge a content; "" where there is nothing to see."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return _invalid("content", "BASE_TYPE_STRING", "Must be a string.")
    if len(value) > content_characters:
        return _invalid("content", "BASE_TYPE_BAD_LENGTH", f"Must be {content_characters} or fewer in length.")
    if "\0" in value:
        return _invalid("content", "BASE_TYPE_STRING", "Must not contain NUL.")
    return value if value.strip() else ""


def flags_of(value: object) -> int | StarlingError:
    """Judge a message's flags; what a sender can't set is left out."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        return _invalid("flags", "NUMBER_TYPE_COERCE", "The value is not a whole number.")
    return value & KEPT_FLAGS


def _reference_of(value: object, channel_id: int) -> Reference | StarlingError | None:
    """Judge a `message_reference`. A reply stays in its channel; forwards there are none."""
    if value is None:
        return None
    if not isinstance(value, dict):
        return _invalid("message_reference", "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
    if value.get("type") not in (None, _REPLY):
        return _invalid("message_reference.type", "BASE_TYPE_CHOICES", f"Value must be one of ({_REPLY},).")
    message_id = id_of(value.get("message_id"))
    if message_id is None:
        return _invalid("message_reference.message_id", "NUMBER_TYPE_COERCE", "Value is not a snowflake.")
    required = value.get("fail_if_not_exists")
    if not (required is None or isinstance(required, bool)):
        return _invalid("message_reference.fail_if_not_exists", "BOOLEAN_TYPE_CONVERT", "Must be either true or false.")
    required = required is not False
    told = value.get("channel_id")
    if told is not None and id_of(told) != channel_id:
        return UnknownReference() if required else None
    return Reference(message_id, required)


def _invalid(field: str, code: str, message: str) -> InvalidForm:
    return InvalidForm({field: [(code, message)]})
