"""Events of a user's own stream: what became of the account, and of all that the user's own sessions hear of alone.

Ring 1 (core).
"""

from __future__ import annotations

from shared.core.event_body import Body
from shared.core.model import Channel, LastMessage, Member, User


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


UserEvent = (
    UserRegistered
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
