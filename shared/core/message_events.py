"""Events of a channel's stream: what became of its messages, and that a direct channel came to be.

Ring 1 (core).
"""

from __future__ import annotations

from typing import Any

import msgspec

from shared.core.event_body import Body
from shared.core.model import Channel, Member, User


class Reaction(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many users reacted with an emoji.

    `epoch`: the command that brought it to the message; who reacted before it was last gone does not count (`marks`).
    """

    emoji: str
    count: int
    epoch: int


class MessageCreated(Body, frozen=True, tag="message_created"):
    """A person wrote a message. `author` is how the author looked when it was written.

    `nonce`: the client's own mark where it is not to recognise repeats by (that one stands in the record).
    In its bucket this is the message as it stands today: changes are projected onto it (`shared.core.amending`).
    `edited_at`: when its content was changed last, Unix ms; 0: never.
    `reference_id`: the message of this channel that it replies to, `reference_place`: the first seq of the bucket where
    that stands; what has become of it is looked up when it is told (`shared.core.replies`).
    `kind`: what the system tells with it, by Discord's types of messages; 0: a person wrote it.
    `reactions`, in the order in which they came, are told in pages only: events tell each of them by itself.
    `mentions`: how those looked whom it calls; `replied_id`: which of them only because it replies to what that user
    wrote, 0 for none: an edit calls that one, too. `embeds` are as Discord shapes them.
    `by_webhook`: the author is no user but a webhook; `avatar_url`: where a picture of it for this message is.
    `channel`: the group DM from now on, where the message tells that it has changed; it is the event that changed it.
    """

    author: User
    content: str
    reference_id: int = 0
    nonce: str = ""
    edited_at: int = 0
    mentions: tuple[User, ...] = ()
    mention_roles: tuple[int, ...] = ()
    mention_everyone: bool = False
    embeds: tuple[dict[str, Any], ...] = ()
    flags: int = 0
    reference_place: int = 0
    reactions: tuple[Reaction, ...] = ()
    pinned: bool = False
    kind: int = 0
    by_webhook: bool = False
    avatar_url: str = ""
    replied_id: int = 0
    channel: Channel | None = None


class MessageStub(Body, frozen=True, tag="message_stub"):
    """What is left of a deleted message, in its place in its bucket (rule 11 of docs/rules.md)."""

    author_id: int


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message that a change is about, and where it stands: `index` in the messages of the bucket `first_seq`.

    Messages never move, so that a change can be projected by its record alone. `seq` and `ordinal` are the message's.
    `pinned`: whether what is deleted was.
    """

    id: int
    seq: int
    ordinal: int
    author_id: int
    first_seq: int
    index: int
    pinned: bool = False


class MessageEdited(Body, frozen=True, tag="message_edited"):
    """A message was changed by its author: `message` is all of it from now on. `sent_at`: of its creation, Unix ms."""

    target: Target
    sent_at: int
    message: MessageCreated


class MessageDeleted(Body, frozen=True, tag="message_deleted"):
    """A message was deleted by `by`, a user's id."""

    target: Target
    by: int


class MessagesDeleted(Body, frozen=True, tag="messages_deleted"):
    """Several messages were deleted at once by `by`, a user's id. The newest first."""

    targets: tuple[Target, ...]
    by: int


class MessagePinned(Body, frozen=True, tag="message_pinned"):
    """A message was pinned at `at` (Unix ms) by `by`, a user's id; `message` is all of it from now on."""

    target: Target
    sent_at: int
    message: MessageCreated
    by: int
    at: int


class MessageUnpinned(Body, frozen=True, tag="message_unpinned"):
    """A message was unpinned by `by`, a user's id. `last_at`: when the newest pin that is left was made, 0 for none."""

    target: Target
    sent_at: int
    message: MessageCreated
    by: int
    last_at: int


class ReactionAdded(Body, frozen=True, tag="reaction_added"):
    """A user reacted with an emoji, for the first time or again; `reactions` are all of the message's from now on.

    `member` is the user in the channel's group, None in a direct channel.
    """

    target: Target
    emoji: str
    user: User
    member: Member | None
    reactions: tuple[Reaction, ...]


class ReactionRemoved(Body, frozen=True, tag="reaction_removed"):
    """A user's reaction is gone; `reactions` are all of the message's from now on."""

    target: Target
    emoji: str
    user_id: int
    reactions: tuple[Reaction, ...]


class ReactionsCleared(Body, frozen=True, tag="reactions_cleared"):
    """All reactions with an emoji are gone, or all (`emoji` ""); `reactions` are those that are left."""

    target: Target
    emoji: str
    reactions: tuple[Reaction, ...]


class ChannelOpened(Body, frozen=True, tag="channel_opened"):
    """A direct channel came to be; the first event of its own channel stream."""

    channel: Channel


MessageEvent = (
    MessageCreated
    | MessageStub
    | MessageEdited
    | MessageDeleted
    | MessagesDeleted
    | MessagePinned
    | MessageUnpinned
    | ReactionAdded
    | ReactionRemoved
    | ReactionsCleared
    | ChannelOpened
)
