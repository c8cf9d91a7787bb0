"""Durable events: what streams hold, as stored and as published.

Ring 1 (core). A body is a fact in the past tense; `stream` gives it its seq. Stored documents and
envelopes share these bodies, so they carry a version there (`BUCKET_VERSION`, `Envelope.v`); a
field may be added with a default, never changed in meaning.
"""

from __future__ import annotations

from typing import Any

import msgspec

from shared.core.model import Channel, ChannelMove, Group, Invite, LastMessage, Member, Role, User, Webhook


class Body(msgspec.Struct, frozen=True, tag_field="t", omit_defaults=True):
    """Base of all event bodies; the tag `t` names the kind in storage and on the bus."""


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


class GroupCreated(Body, frozen=True, tag="group_created"):
    """A group came to be, with its first channels and its owner as its first member."""

    group: Group
    channels: tuple[Channel, ...]
    owner: Member


class GroupChanged(Body, frozen=True, tag="group_changed"):
    """A group is not as before: its name, its owner, or what else it says of itself."""

    group: Group
    before: Group


class GroupDeleted(Body, frozen=True, tag="group_deleted"):
    """A group is no more, with all that was in it: the last event of its stream. `group`: as it was."""

    group: Group


class ChannelCreated(Body, frozen=True, tag="channel_created"):
    """A group got one more channel."""

    channel: Channel


class ChannelChanged(Body, frozen=True, tag="channel_changed"):
    """A channel of a group is not as before."""

    channel: Channel
    before: Channel


class ChannelsMoved(Body, frozen=True, tag="channels_moved"):
    """Channels of a group stand elsewhere."""

    moves: tuple[ChannelMove, ...]


class ChannelDeleted(Body, frozen=True, tag="channel_deleted"):
    """A channel of a group is gone. Channels under it, if it was a category, stand under none: `children`.

    `group`: the group as it is now, where it named this channel.
    """

    channel: Channel
    children: tuple[int, ...] = ()
    group: Group | None = None


class InviteCreated(Body, frozen=True, tag="invite_created"):
    """A way into the group was made. `over`: codes of ways that nobody can use any more; they are forgotten."""

    invite: Invite
    over: tuple[str, ...] = ()


class InviteDeleted(Body, frozen=True, tag="invite_deleted"):
    """A way into the group was closed. `invite`: as it was."""

    code: str
    channel_id: int
    invite: Invite | None = None


class WebhookCreated(Body, frozen=True, tag="webhook_created"):
    """Programs may write into a channel of the group by one more webhook."""

    webhook: Webhook


class WebhookChanged(Body, frozen=True, tag="webhook_changed"):
    """A webhook has another name, or writes into another channel."""

    webhook: Webhook
    before: Webhook


class WebhookDeleted(Body, frozen=True, tag="webhook_deleted"):
    """A webhook is gone: nothing is written by it any more. Those of a deleted channel go with that, untold."""

    webhook: Webhook


class MemberAdded(Body, frozen=True, tag="member_added"):
    """A user became a member of the group. `invite`: the code of the one that was used, now `uses` times; else ""."""

    member: Member
    invite: str = ""
    uses: int = 0


class MemberRemoved(Body, frozen=True, tag="member_removed"):
    """A member left or was removed."""

    user: User


class MemberChanged(Body, frozen=True, tag="member_changed"):
    """A member is not as before: the user's names, or what the user is in the group. `member`: as it is now.

    `before`: as it was, where roles, nick or timeout changed. What an event changes it tells with `before`, so that
    whoever knows today's state can say what was so at the event's place (`shared.core.sight`).
    """

    member: Member
    before: Member | None = None


class MemberBanned(Body, frozen=True, tag="member_banned"):
    """A user may not be in the group any more; if the user was a member (`was_in`), not since now.

    `by`: the user who decided it.
    """

    user: User
    was_in: bool
    by: int = 0
    reason: str = ""


class BanLifted(Body, frozen=True, tag="ban_lifted"):
    """A banned user may come again."""

    user: User


class RoleCreated(Body, frozen=True, tag="role_created"):
    """A group got one more role."""

    role: Role


class RoleChanged(Body, frozen=True, tag="role_changed"):
    """A role is not as before; its position is."""

    role: Role
    before: Role


class RolesMoved(Body, frozen=True, tag="roles_moved"):
    """These roles, as they are now, stand at other positions."""

    roles: tuple[Role, ...]


class RoleDeleted(Body, frozen=True, tag="role_deleted"):
    """A role is gone. Members and overwrites may name it on: nobody tells it any more (`known_only`)."""

    role: Role


class UserRegistered(Body, frozen=True, tag="user_registered"):
    """An account came to be; the first event of the user's stream. `owner`: whose bot it is, 0 for a person."""

    user: User
    owner: int = 0


class UserChanged(Body, frozen=True, tag="user_changed"):
    """A user's names or bio are not as before. Other members hear of it by `MemberChanged`.

    `owner`: as at the registration. `gone`: the account was deleted.
    """

    user: User
    bio: str = ""
    owner: int = 0
    gone: bool = False


class UserBlocked(Body, frozen=True, tag="user_blocked"):
    """To the user's own sessions: you block this user, or (`present` False) do so no more."""

    user: User
    present: bool = True


class DirectChanged(Body, frozen=True, tag="direct_changed"):
    """To the nodes of either user: nobody may write in this direct channel, or both may (`closed` False)."""

    channel_id: int
    closed: bool = True


class DirectJoined(Body, frozen=True, tag="direct_joined"):
    """To the user's own sessions: you are in this group DM, since the event `channel.as_of` of its own stream."""

    channel: Channel


class DirectLeft(Body, frozen=True, tag="direct_left"):
    """To the user's own sessions: you are out of this group DM, at the latest since `channel.as_of` of its stream."""

    channel: Channel


class DirectHidden(Body, frozen=True, tag="direct_hidden"):
    """To the user's own sessions: you closed this direct channel, until it has a message behind `upto`, its last."""

    channel_id: int
    upto: LastMessage


class DirectShown(Body, frozen=True, tag="direct_shown"):
    """To the user's own sessions: you opened this direct channel again."""

    channel_id: int


class GroupJoined(Body, frozen=True, tag="group_joined"):
    """To the user's own sessions: you are in this group, since `group_seq` of its stream."""

    group_seq: int
    member: Member


class GroupLeft(Body, frozen=True, tag="group_left"):
    """To the user's own sessions: you are out of this group, since `group_seq` of its stream."""

    group_id: int
    group_seq: int


class MembershipChanged(Body, frozen=True, tag="membership_changed"):
    """To the user's own sessions: you have other roles, another nick or timeout in this group, since `group_seq`."""

    group_seq: int
    member: Member
    before: Member


class TokensRevoked(Body, frozen=True, tag="tokens_revoked"):
    """To the user's own sessions: tokens issued before `before` (Unix ms) are void, and the one named.

    `issued` and `fingerprint` are that one's, 0 and empty if none is named.
    """

    before: int = 0
    issued: int = 0
    fingerprint: str = ""


AnyBody = (
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
    | GroupCreated
    | GroupChanged
    | GroupDeleted
    | ChannelCreated
    | ChannelChanged
    | ChannelsMoved
    | ChannelDeleted
    | RoleCreated
    | RoleChanged
    | RolesMoved
    | RoleDeleted
    | MemberBanned
    | BanLifted
    | InviteCreated
    | InviteDeleted
    | WebhookCreated
    | WebhookChanged
    | WebhookDeleted
    | MemberAdded
    | MemberRemoved
    | MemberChanged
    | UserRegistered
    | UserChanged
    | UserBlocked
    | DirectChanged
    | DirectJoined
    | DirectLeft
    | DirectHidden
    | DirectShown
    | GroupJoined
    | GroupLeft
    | MembershipChanged
    | TokensRevoked
)
