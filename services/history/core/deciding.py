"""Deciding: what each command comes to, by the messages as they stand and by what its user may do.

Ring 1 (core). Pure: a refusal is raised, as an error of the catalogue. Which messages a decision needs `message_ids_of`
says; who finds them, and in which order commands are decided, is `sequencer`'s business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from services.history.core.directing import directed
from services.history.core.marks import ReactorKey
from services.history.core.pinning import pinned, take_in_pin, unpinned
from services.history.core.reacting import added, cleared, reactor_key_of, removed, take_in_reactor
from shared.core.amending import patches_of
from shared.core.commands import (
    AddReaction,
    AnyCommand,
    ClearReactions,
    DeleteMessage,
    DeleteMessages,
    DirectCommand,
    EditMessage,
    MessageCommand,
    OpenDirect,
    PinMessage,
    PurgeMessages,
    RemoveReaction,
    SendMessage,
    UnpinMessage,
)
from shared.core.error_catalogue import error_of
from shared.core.errors import MissingAccess, MissingPermissions
from shared.core.events import AnyBody
from shared.core.group_errors import UnknownChannel
from shared.core.message_errors import (
    CannotActOnSystemMessage,
    CannotEditOthers,
    SystemReference,
    UnknownMessage,
    UnknownReference,
)
from shared.core.message_events import (
    ChannelOpened,
    MessageCreated,
    MessageDeleted,
    MessageEdited,
    MessagesDeleted,
    Target,
)
from shared.core.model import Channel
from shared.core.permissions import Permission
from shared.core.sending import created_by, edited_by, refusal_of_parts
from shared.core.stream import Bucket, Draft, Key, Record


class Verdict(msgspec.Struct, frozen=True):
    """What a user may do in a channel by today's facts. `refusal`: why not write there (a name of the catalogue).

    `slow_s`: the pause that slow mode asks of the user.
    """

    permissions: int
    refusal: str = ""
    slow_s: int = 0


class Standing(msgspec.Struct, frozen=True):
    """A message that there is, and where it stands."""

    target: Target
    sent_at: int
    message: MessageCreated


Messages = Mapping[int, Standing]
"""By id. What is not in it does not exist, or not any more."""


class Facts:
    """What a channel's commands are decided on: the messages that they are about, whose reactions stand there, pins.

    `direct`: the direct channel itself.
    """

    __slots__ = ("direct", "messages", "pins", "reactors")

    def __init__(self) -> None:
        self.messages: dict[int, Standing] = {}
        self.reactors: dict[ReactorKey, int] = {}
        self.pins: dict[int, int] = {}
        self.direct: Channel | None = None

    def copy(self) -> Facts:
        """Return facts that can become others without these."""
        copied = Facts()
        copied.messages, copied.reactors, copied.pins = dict(self.messages), dict(self.reactors), dict(self.pins)
        copied.direct = self.direct
        return copied

    def take_in(self, change: AnyBody) -> None:
        """Be as things are after an event. What is new among them nobody asked for yet."""
        if isinstance(change, MessageCreated | ChannelOpened):
            self.direct = change.channel or self.direct
            return
        for target, patch in patches_of(change):
            if (standing := self.messages.get(target.id)) is None:
                continue
            message = patch.apply(standing.message)
            if isinstance(message, MessageCreated):
                self.messages[target.id] = msgspec.structs.replace(standing, message=message)
            else:
                del self.messages[target.id]
        take_in_reactor(self.reactors, change)
        take_in_pin(self.pins, change)


def keys_of(command: AnyCommand) -> tuple[Key, ...]:
    """Return all under which a repeat of this command is recognised."""
    if isinstance(command, SendMessage) and command.nonce and command.enforce_nonce:
        return (command.command_id, (command.author.id, command.nonce))
    return (command.command_id,)


def is_plain(command: AnyCommand) -> bool:
    """Whether a command writes a message, and what it comes to depends on no other message, nor on when one came."""
    return isinstance(command, SendMessage) and not command.reference_id and not command.slow_s


def user_of(command: AnyCommand) -> int:
    """Return the id of the user who asks; 0 for a command of our own."""
    match command:
        case SendMessage(author=author):
            return author.id
        case MessageCommand(user_id=user_id):
            return user_id
        case DirectCommand(user=user):
            return user.id
        case _:
            return 0


def message_ids_of(command: AnyCommand) -> tuple[int, ...]:
    """Return which messages must be known to decide on this."""
    match command:
        case SendMessage(reference_id=reference_id) if reference_id:
            return (reference_id,)
        case DeleteMessages(message_ids=message_ids) | PurgeMessages(message_ids=message_ids):
            return message_ids
        case SendMessage() | OpenDirect() | DirectCommand():
            return ()
        case _:
            return (command.message_id,)


def reactor_keys_of(command: AnyCommand) -> tuple[ReactorKey, ...]:
    """Return whose reactions must be known to decide on this."""
    return (reactor_key_of(command),) if isinstance(command, AddReaction | RemoveReaction) else ()


def needs_pins(command: AnyCommand) -> bool:
    """Whether the channel's pins must be known to decide on this."""
    return isinstance(command, PinMessage | UnpinMessage)


def needs_direct(command: AnyCommand) -> bool:
    """Whether the direct channel itself must be known to decide on this."""
    return isinstance(command, DirectCommand)


def draft_of(command: AnyCommand, facts: Facts, verdict: Verdict | None, now: int) -> Draft | None:
    """Return the event that a command comes to; None if there is nothing to change.

    `verdict`: what its user may do, if that was looked up again. Raises the refusal.
    """
    match command:
        case SendMessage():
            nonce = command.nonce if command.enforce_nonce else ""
            return Draft(_message_by(command, facts.messages, verdict), command.command_id, nonce)
        case OpenDirect():
            return Draft(ChannelOpened(command.channel), command.command_id)
        case PurgeMessages():
            found = _to_delete(command.message_ids, facts.messages)
            targets = tuple(one for one in found if one.author_id == command.author_id)
            return Draft(MessagesDeleted(targets, command.by), command.command_id) if targets else None
        case DirectCommand():
            told = directed(command, facts.direct)
            return Draft(told, command.command_id) if told is not None else None
        case _:
            if verdict is None:
                verdict = Verdict(command.permissions)
            if not verdict.permissions & Permission.VIEW_CHANNEL:
                raise error_of(verdict.refusal or MissingAccess.__name__, "")
            change = _change_of(command, facts, verdict.permissions, now)
            return Draft(change, command.command_id, reason=command.reason) if change is not None else None


def _message_by(command: SendMessage, messages: Messages, verdict: Verdict | None) -> MessageCreated:
    """Return the message that a command writes, a reply in its place."""
    if command.refusal:
        raise error_of(command.refusal, "")
    message = created_by(command)
    if verdict is not None and command.kind:
        if verdict.refusal == UnknownChannel.__name__:
            raise UnknownChannel  # whoever it tells of may be gone, but not the channel
    elif verdict is not None:
        if reason := verdict.refusal or refusal_of_parts(command, verdict.permissions):
            raise error_of(reason, "")
        if not verdict.permissions & Permission.MENTION_EVERYONE:
            message = msgspec.structs.replace(message, mention_everyone=False)
    if not command.reference_id:
        return message
    standing = messages.get(command.reference_id)
    if standing is None:
        if command.reference_required:
            raise UnknownReference
        return msgspec.structs.replace(message, reference_id=0)
    if command.kind:
        return message  # it points to that message, and replies to nobody
    if standing.message.kind:
        raise SystemReference
    mentions = message.mentions
    replied = standing.message.author
    calls_replied = command.mention_replied and not standing.message.by_webhook
    if calls_replied and replied.id not in {command.author.id, *(user.id for user in mentions)}:
        message = msgspec.structs.replace(message, mentions=(*mentions, replied), replied_id=replied.id)
    return msgspec.structs.replace(message, reference_place=standing.target.first_seq)


def _change_of(command: MessageCommand, facts: Facts, permissions: int, now: int) -> AnyBody | None:
    messages = facts.messages
    match command:
        case EditMessage():
            standing = _require_message(messages, command.message_id)
            if standing.message.kind:
                raise CannotActOnSystemMessage
            if standing.target.author_id != command.user_id and not (
                permissions & Permission.MANAGE_MESSAGES and command.content is None and command.embeds is None
            ):
                raise CannotEditOthers
            if command.embeds and not permissions & Permission.EMBED_LINKS:
                raise MissingPermissions
            return MessageEdited(standing.target, standing.sent_at, edited_by(command, standing.message, now))
        case DeleteMessage():
            standing = _require_message(messages, command.message_id)
            if standing.message.channel is not None:
                raise CannotActOnSystemMessage  # it is the change that it tells of
            if standing.target.author_id != command.user_id and not permissions & Permission.MANAGE_MESSAGES:
                raise MissingPermissions
            return MessageDeleted(_deleted(standing), command.user_id)
        case DeleteMessages():
            if not permissions & Permission.MANAGE_MESSAGES:
                raise MissingPermissions
            found = _to_delete(command.message_ids, messages)
            return MessagesDeleted(tuple(found), command.user_id) if found else None
        case AddReaction():
            standing = _require_message(messages, command.message_id)
            return added(command, standing.target, standing.message, facts.reactors, permissions)
        case RemoveReaction():
            standing = _require_message(messages, command.message_id)
            return removed(command, standing.target, standing.message, facts.reactors, permissions)
        case ClearReactions():
            standing = _require_message(messages, command.message_id)
            return cleared(command, standing.target, standing.message, permissions)
        case PinMessage():
            standing = _require_message(messages, command.message_id)
            place = standing.target, standing.sent_at, standing.message
            return pinned(*place, command.user_id, facts.pins, permissions, now)
        case UnpinMessage():
            standing = _require_message(messages, command.message_id)
            place = standing.target, standing.sent_at, standing.message
            return unpinned(*place, command.user_id, facts.pins, permissions)
    raise TypeError(f"nobody decides on {type(command).__name__}")


def _to_delete(message_ids: Collection[int], messages: Messages) -> list[Target]:
    """Return those of these messages that there are, the newest first."""
    return [_deleted(messages[one]) for one in sorted(message_ids, reverse=True) if one in messages]


def _deleted(standing: Standing) -> Target:
    return msgspec.structs.replace(standing.target, pinned=standing.message.pinned)


def _require_message(messages: Messages, message_id: int) -> Standing:
    if (standing := messages.get(message_id)) is None:
        raise UnknownMessage
    return standing


def messages_in(bucket: Bucket) -> dict[int, Standing]:
    """Return the messages of a bucket."""
    return {
        record.id: standing
        for index, record in enumerate(bucket.messages)
        if (standing := _standing_of(record, bucket.first_seq, index)) is not None
    }


def _standing_of(record: Record, first_seq: int, index: int) -> Standing | None:
    if not isinstance(record.body, MessageCreated):
        return None
    target = Target(record.id, record.seq, record.ordinal, record.body.author.id, first_seq, index)
    return Standing(target, record.at, record.body)


def record_of(standing: Standing) -> Record:
    """Return a message as it stands in its bucket."""
    target = standing.target
    return Record(target.seq, standing.sent_at, standing.message, id=target.id, ordinal=target.ordinal)
