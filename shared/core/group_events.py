"""Events of a group's stream: what became of it, its channels, ways in, webhooks, members, bans and roles.

Ring 1 (core).
"""

from __future__ import annotations

from shared.core.event_body import Body
from shared.core.model import Channel, ChannelMove, Group, Invite, Member, Role, User, Webhook


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


GroupEvent = (
    GroupCreated
    | GroupChanged
    | GroupDeleted
    | ChannelCreated
    | ChannelChanged
    | ChannelsMoved
    | ChannelDeleted
    | InviteCreated
    | InviteDeleted
    | WebhookCreated
    | WebhookChanged
    | WebhookDeleted
    | MemberAdded
    | MemberRemoved
    | MemberChanged
    | MemberBanned
    | BanLifted
    | RoleCreated
    | RoleChanged
    | RolesMoved
    | RoleDeleted
)
