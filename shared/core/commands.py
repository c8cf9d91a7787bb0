"""Commands through the log, their replies, and the envelopes on the bus: values and their one codec.

Ring 1 (core). An envelope is msgpack with a kind tag, a version and a list, from the first day; a
release reads the version before its own. Read `shared.command_log` next: who sends commands and waits.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from shared.core.error_catalogue import error_of, name_of
from shared.core.errors import StarlingError
from shared.core.model import Channel, Member, Presence, User
from shared.core.stream import Event

ENVELOPE_VERSION: Final = 1
COMMAND_LIFETIME_MS: Final = 60_000
"""A command that was not stored this long after it was sent never will be (rule 10)."""


class Command(msgspec.Struct, frozen=True, tag_field="t", omit_defaults=True):
    """A change asked for. `reply_to` names the node that waits; `expires_at` is Unix ms."""

    command_id: int
    channel_id: int
    reply_to: str
    expires_at: int


class SendMessage(Command, frozen=True, tag="send_message"):
    """Store this message. `group_id` = 0: a direct channel between the users in `to`.

    `group_seq`: the group's seq that it was permitted under, -1 for none: then the shard looks permission up.
    `refusal`: the sender's node says no (a class name of the catalogue); the shard has the last word,
    since the nonce may be stored.
    `enforce_nonce` = False: the nonce is only shown, a repeat of it is another message. `reference_id`: what it
    replies to; where there is no such message it is refused if that is `reference_required`, else no reply.
    `mention_replied`: who wrote that is called, beside `mentions`. `kind`: what the system tells with it, in the
    author's name; that asks for no permission. `slow_s`: the pause that slow mode asks for. `by_webhook`: the author is
    no user but a webhook; `avatar_url`: how it looks in this message, "" for as always.
    """

    author: User
    content: str
    nonce: str = ""
    reference_id: int = 0
    group_id: int = 0
    to: tuple[int, ...] = ()
    group_seq: int = 0
    refusal: str = ""
    enforce_nonce: bool = True
    reference_required: bool = False
    mentions: tuple[User, ...] = ()
    mention_roles: tuple[int, ...] = ()
    mention_everyone: bool = False
    mention_replied: bool = False
    embeds: tuple[dict[str, Any], ...] = ()
    flags: int = 0
    kind: int = 0
    slow_s: int = 0
    by_webhook: bool = False
    avatar_url: str = ""


class OpenDirect(Command, frozen=True, tag="open_direct"):
    """Begin the stream of a direct channel; a repeat changes nothing."""

    channel: Channel


class DirectCommand(Command, frozen=True):
    """Base of what `user` does to a group DM; a message of the user's tells it."""

    user: User


class AddRecipient(DirectCommand, frozen=True, tag="add_recipient"):
    """Let somebody in; a repeat changes nothing."""

    added: User


class RemoveRecipient(DirectCommand, frozen=True, tag="remove_recipient"):
    """Remove somebody, which is the owner's right, or leave."""

    removed: User


class RenameDirect(DirectCommand, frozen=True, tag="rename_direct"):
    """Give a group DM another name, or none ("")."""

    name: str


class MessageCommand(Command, frozen=True):
    """Base of what is done to messages that there are. The user may do `permissions` by the facts of `group_seq`.

    `group_id` = 0: in a direct channel, where permissions do not change. `reason`: why, for the group's audit log.
    """

    user_id: int
    permissions: int
    group_id: int = 0
    group_seq: int = 0
    reason: str = ""


class EditMessage(MessageCommand, frozen=True, kw_only=True, tag="edit_message"):
    """Change what the user wrote; what is None stays. The mentions are those of the content."""

    message_id: int
    content: str | None = None
    mentions: tuple[User, ...] = ()
    mention_roles: tuple[int, ...] = ()
    mention_everyone: bool = False
    embeds: tuple[dict[str, Any], ...] | None = None
    flags: int | None = None


class DeleteMessage(MessageCommand, frozen=True, kw_only=True, tag="delete_message"):
    """Delete a message: the user's own, or with MANAGE_MESSAGES that of another."""

    message_id: int


class DeleteMessages(MessageCommand, frozen=True, kw_only=True, tag="delete_messages"):
    """Delete those of these messages that there are; needs MANAGE_MESSAGES. At most 100, each once."""

    message_ids: tuple[int, ...]


class PurgeMessages(Command, frozen=True, kw_only=True, tag="purge_messages"):
    """Delete those of these messages that there are and that this author wrote: it was banned by the user `by`.

    That asks for no permission in the channel. At most 100, each once.
    """

    by: int
    author_id: int
    message_ids: tuple[int, ...]


class AddReaction(MessageCommand, frozen=True, kw_only=True, tag="add_reaction"):
    """React with an emoji; a repeat changes nothing. `member`: the user in the group, as the group shows it."""

    message_id: int
    emoji: str
    user: User
    member: Member | None = None


class RemoveReaction(MessageCommand, frozen=True, kw_only=True, tag="remove_reaction"):
    """Take back the reaction `of` a user; that of another needs MANAGE_MESSAGES."""

    message_id: int
    emoji: str
    of: int


class ClearReactions(MessageCommand, frozen=True, kw_only=True, tag="clear_reactions"):
    """Remove all reactions with an emoji, or all ("") of a message; needs MANAGE_MESSAGES."""

    message_id: int
    emoji: str = ""


class PinMessage(MessageCommand, frozen=True, kw_only=True, tag="pin_message"):
    """Pin a message; needs PIN_MESSAGES or MANAGE_MESSAGES."""

    message_id: int


class UnpinMessage(MessageCommand, frozen=True, kw_only=True, tag="unpin_message"):
    """Take back a pin; needs PIN_MESSAGES or MANAGE_MESSAGES."""

    message_id: int


AnyCommand = (
    SendMessage
    | OpenDirect
    | AddRecipient
    | RemoveRecipient
    | RenameDirect
    | EditMessage
    | DeleteMessage
    | DeleteMessages
    | PurgeMessages
    | AddReaction
    | RemoveReaction
    | ClearReactions
    | PinMessage
    | UnpinMessage
)


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a command: stored as (`seq`, `id`), or refused with `error` (a catalogue class name).

    `id` is that of a message that was written. A `seq` of 0 without an error: there was nothing to change.
    """

    command_id: int
    seq: int = 0
    id: int = 0
    error: str = ""
    message: str = ""
    retry_after: float = 0.0

    @property
    def is_retryable(self) -> bool:
        """Whether it was refused for now only."""
        return bool(self.error) and error_of(self.error, self.message).retryable

    def raise_error(self) -> None:
        """Raise the catalogue's error if the command was refused."""
        if self.error:
            raise error_of(self.error, self.message, self.retry_after or None)


def refusal_of(command_id: int, error: StarlingError) -> Reply:
    """Return the reply that tells this error."""
    return Reply(
        command_id,
        error=name_of(error),
        message=error.text,
        retry_after=error.retry_after or 0.0,
    )


class Commands(msgspec.Struct, frozen=True, tag_field="k", tag="commands"):
    """To a shard of the log."""

    items: tuple[AnyCommand, ...]
    v: int = ENVELOPE_VERSION


class Events(msgspec.Struct, frozen=True, tag_field="k", tag="events"):
    """To the nodes."""

    items: tuple[Event, ...]
    v: int = ENVELOPE_VERSION


class Typed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A user began to write in a channel at `at` (Unix ms): a signal, in no stream, lost without harm.

    `group_id` = 0: a direct channel between the users in `to`. `member`: the user as a member of the group.
    """

    channel_id: int
    user_id: int
    at: int
    group_id: int = 0
    to: tuple[int, ...] = ()
    member: Member | None = None


class Signals(msgspec.Struct, frozen=True, tag_field="k", tag="signals"):
    """To the nodes, of the moment: nobody repairs, replays or keeps them."""

    items: tuple[Typed, ...]
    v: int = ENVELOPE_VERSION


class Acked(msgspec.Struct, frozen=True):
    """A user has read a channel up to this message: for the user's own sessions."""

    user_id: int
    channel_id: int
    message_id: int


class Acks(msgspec.Struct, frozen=True, tag_field="k", tag="acks"):
    """To the nodes, of the moment; the markers themselves are stored."""

    items: tuple[Acked, ...]
    v: int = ENVELOPE_VERSION


class Present(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a user is on one node from now on, to be told in these groups."""

    user_id: int
    groups: tuple[int, ...]
    presence: Presence


class Presences(msgspec.Struct, frozen=True, tag_field="k", tag="presences"):
    """To the nodes, from one of them (its incarnation), of the moment; what a node misses it reads from the leases."""

    node: str
    items: tuple[Present, ...]
    v: int = ENVELOPE_VERSION


class Replies(msgspec.Struct, frozen=True, tag_field="k", tag="replies"):
    """To the one node that sent the commands."""

    items: tuple[Reply, ...]
    v: int = ENVELOPE_VERSION


_encoder = msgspec.msgpack.Encoder()
_to_node = msgspec.msgpack.Decoder(Acks | Events | Replies | Signals | Presences)
_to_shard = msgspec.msgpack.Decoder(Commands)


class BadEnvelope(Exception):
    """The bytes are no envelope that this release reads."""


def encode_envelope(envelope: Commands | Acks | Events | Replies | Signals | Presences) -> bytes:
    """Encode an envelope for the bus."""
    return _encoder.encode(envelope)


def decode_for_node(body: bytes) -> Acks | Events | Replies | Signals | Presences:
    """Decode what a node's queue holds. Raises `BadEnvelope`."""
    try:
        envelope: Acks | Events | Replies | Signals | Presences = _to_node.decode(body)
    except msgspec.MsgspecError as error:
        raise BadEnvelope(str(error)) from error
    if envelope.v > ENVELOPE_VERSION:
        raise BadEnvelope(f"version {envelope.v}")
    return envelope


def decode_for_shard(body: bytes) -> Commands:
    """Decode what a shard's queue holds. Raises `BadEnvelope`."""
    try:
        envelope = _to_shard.decode(body)
    except msgspec.MsgspecError as error:
        raise BadEnvelope(str(error)) from error
    if envelope.v > ENVELOPE_VERSION:
        raise BadEnvelope(f"version {envelope.v}")
    return envelope
