"""Reacting: what a reaction, its withdrawal or a clearing comes to.

Ring 1 (core). Pure; refusals are raised. The new counts stand in the event, made from the message as it stands and from
whether the user's own reaction is there: a repeat is no event, so no count can drift. Read `deciding` next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from services.history.core.marks import ReactorKey
from shared.core.commands import AddReaction, ClearReactions, RemoveReaction
from shared.core.errors import MissingPermissions
from shared.core.message_errors import TooManyReactions
from shared.core.message_events import (
    MessageCreated,
    Reaction,
    ReactionAdded,
    ReactionRemoved,
    ReactionsCleared,
    Target,
)
from shared.core.permissions import Permission

MAX_REACTIONS: Final = 20
"""Different emoji on one message."""

Reactors = Mapping[ReactorKey, int]
"""The epoch of each user's reaction, 0 for none. It counts while the message's emoji has that epoch."""


def reaction_of(message: MessageCreated, emoji: str) -> Reaction | None:
    """Return a message's reactions with an emoji."""
    return next((one for one in message.reactions if one.emoji == emoji), None)


def added(
    command: AddReaction, target: Target, message: MessageCreated, reactors: Reactors, permissions: int
) -> ReactionAdded | None:
    """Return what a reaction comes to; None if the user has reacted so already."""
    if not permissions & Permission.READ_MESSAGE_HISTORY:
        raise MissingPermissions
    present = reaction_of(message, command.emoji)
    if present is not None and reactors.get((target.id, command.emoji, command.user_id)) == present.epoch:
        return None
    if present is not None:
        reactions = _with_count(message.reactions, present, present.count + 1)
    else:
        if not permissions & Permission.ADD_REACTIONS:
            raise MissingPermissions
        if len(message.reactions) >= MAX_REACTIONS:
            raise TooManyReactions
        reactions = (*message.reactions, Reaction(command.emoji, 1, command.command_id))
    return ReactionAdded(target, command.emoji, command.user, command.member, reactions)


def removed(
    command: RemoveReaction, target: Target, message: MessageCreated, reactors: Reactors, permissions: int
) -> ReactionRemoved | None:
    """Return what taking back a reaction comes to; None if there is none."""
    if command.of != command.user_id and not permissions & Permission.MANAGE_MESSAGES:
        raise MissingPermissions
    present = reaction_of(message, command.emoji)
    if present is None or reactors.get((target.id, command.emoji, command.of)) != present.epoch:
        return None
    reactions = _with_count(message.reactions, present, present.count - 1)
    return ReactionRemoved(target, command.emoji, command.of, reactions)


def cleared(
    command: ClearReactions, target: Target, message: MessageCreated, permissions: int
) -> ReactionsCleared | None:
    """Return what clearing comes to; None if there is nothing to clear."""
    if not permissions & Permission.MANAGE_MESSAGES:
        raise MissingPermissions
    left = tuple(one for one in message.reactions if command.emoji and one.emoji != command.emoji)
    return ReactionsCleared(target, command.emoji, left) if len(left) < len(message.reactions) else None


def reactor_key_of(command: AddReaction | RemoveReaction) -> ReactorKey:
    """Return whose reaction must be known to decide on this."""
    user_id = command.user_id if isinstance(command, AddReaction) else command.of
    return command.message_id, command.emoji, user_id


def take_in_reactor(reactors: dict[ReactorKey, int], change: object) -> None:
    """Let reactors be as they are after an event."""
    match change:
        case ReactionAdded(target=target, emoji=emoji, user=user, reactions=reactions):
            epoch = next(one.epoch for one in reactions if one.emoji == emoji)
            reactors[target.id, emoji, user.id] = epoch
        case ReactionRemoved(target=target, emoji=emoji, user_id=user_id):
            reactors[target.id, emoji, user_id] = 0


def _with_count(reactions: tuple[Reaction, ...], one: Reaction, count: int) -> tuple[Reaction, ...]:
    if not count:
        return tuple(other for other in reactions if other is not one)
    return tuple(msgspec.structs.replace(other, count=count) if other is one else other for other in reactions)
