"""The group store: accounts, name claims, and the projections of group and user streams. The seam.

Ring 2. Implementations: `MemoryGroups` (memory_store.py) and `MongoGroups` (mongo_store.py), held by
tests/contracts/test_group_store.py. Streams themselves are in `shared.streams`; what is here follows
them by seq, but for accounts and claims, which are truth of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from shared.core.model import Ban, Channel, Group, Invite, LastMessage, Member, Role, User, Webhook
from shared.core.revocation import Revocations
from shared.core.titles import key_of_name

State = Literal["active", "blocked", "deleted"]
"""What may become of an account. Only an active one is issued tokens; none comes back from being deleted."""


class Account(msgspec.Struct, frozen=True):
    """What only the account's owner has: the argon2id hash of the password. `user_id` is the key.

    No token of the account was issued later than `issued` (Unix ms): what is revoked up to there is all. A bot's hash
    is empty, and so is that of a deleted account: no password is right. `email`: an address that was proved by a code.
    """

    user_id: int
    password_hash: str
    issued: int = 0
    state: State = "active"
    email: str = ""


class Claim(msgspec.Struct, frozen=True):
    """Who owns a unique name or pair, since when (Unix ms). `key` is case-folded and prefixed by its kind."""

    key: str
    owner: int
    at: int


class Profile(msgspec.Struct, frozen=True):
    """What a user tells of itself. `owner`: whose bot it is, 0 for a person.

    `gone`: the account was deleted, and the name is nobody's.
    """

    user: User
    bio: str = ""
    owner: int = 0
    gone: bool = False


class Job(msgspec.Struct, frozen=True):
    """Work in other streams that a change leaves behind: `key` says what, `due` (Unix ms) when somebody takes it up.

    `mark` is new each time the work is asked for, so that who finished an older asking does not end a newer one.
    """

    key: str
    due: int
    mark: int


class Membership(msgspec.Struct, frozen=True):
    """A user's own view of one group, a projection of the user's stream; `group_seq` orders joins and leaves."""

    user_id: int
    group_id: int
    group_seq: int
    present: bool


class MemberState(msgspec.Struct, frozen=True):
    """A member's projection: `member` is None once gone; `seq` is the event that made it so."""

    member: Member | None
    seq: int


def keys_of(member: Member) -> tuple[str, ...]:
    """Return what a member is found by: the keys of the username, and of the name that the group shows if there is one.

    That is the nick, else the global name.
    """
    shown = member.nick or member.user.global_name
    return (key_of_name(member.user.username), *((key_of_name(shown),) if shown else ()))


class Tally(msgspec.Struct, frozen=True):
    """How many members a group has, between which user ids (0 for none). `seq`: the last event counted, 0: surveyed."""

    members: int = 0
    low: int = 0
    high: int = 0
    seq: int = 0

    def after(self, user_id: int, seq: int, *, joined: bool) -> Tally:
        """Return the tally after this user's event. The bounds only widen."""
        if not joined:
            return Tally(self.members - 1, self.low, self.high, seq)
        return Tally(self.members + 1, min(self.low or user_id, user_id), max(self.high, user_id), seq)


class GroupStore(Protocol):
    """Point reads and idempotent writes; everything bounded. All raise `shared.streams.StoreUnavailable`.

    A projection (`put_*`, `remove_member`) with a `seq` not above the stored one changes nothing, so it can be
    redone in any order by anyone (rule 4: a removal leaves a tombstone).
    """

    async def claim(self, claim: Claim) -> Claim:
        """Claim a key; return the claim that holds now, ours or an earlier one's. Idempotent per owner."""

    async def replace_claim(self, old: Claim, new: Claim) -> bool:
        """Take over a claim whose owner's stream does not bear it out; False if it is no longer `old`."""

    async def read_claim(self, key: str) -> Claim | None:
        """Return who holds a key."""

    async def create_account(self, account: Account) -> None:
        """Store an account once; a second call for the same user changes nothing."""

    async def read_account(self, user_id: int) -> Account | None:
        """Return an account."""

    async def issue(self, user_id: int, password_hash: str, now: int) -> int | None:
        """Return the time to issue a token at: `now`, or later if one was. None if the hash is not the account's.

        None, too, for an account that is not active.
        """

    async def set_state(self, user_id: int, state: State, *, unless: Sequence[State] = ()) -> Account | None:
        """Give an account another state, a deleted one no password and address; return it then.

        Its `issued` is raised by one, so all tokens so far were issued before that. None if there is no account, or
        if it is in one of `unless`.
        """

    async def set_email(self, user_id: int, email: str) -> bool:
        """Give an account another proved address; False if there is none that was not deleted."""

    async def replace_password(self, old: Account, password_hash: str) -> bool:
        """Give the account `old` another hash, and raise its `issued` by one; False if it is no longer `old`."""

    async def put_revocations(self, user_id: int, revocations: Revocations, seq: int) -> None:
        """Project which tokens of a user are void."""

    async def read_revocations(self, user_ids: Sequence[int]) -> dict[int, Revocations]:
        """Return which tokens of these users are void (at most 1,000); nothing for who never revoked one."""

    async def put_user(self, user: User, seq: int, *, bio: str = "", owner: int = 0, gone: bool = False) -> None:
        """Project a user's profile."""

    async def list_bots(self, owner: int, limit: int) -> list[Profile]:
        """Return a user's bots by id, without the gone."""

    async def read_profile(self, user_id: int) -> Profile | None:
        """Return a user's profile."""

    async def find_users(self, prefix: str, after: str, limit: int) -> list[User]:
        """Return users whose name's key begins with `prefix` (not empty) and is above `after`, by that key."""

    async def put_block(self, owner: int, user_id: int, seq: int, *, at: int, present: bool) -> None:
        """Project whether `owner` blocks a user, since when (Unix ms)."""

    async def read_blocks(self, pairs: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
        """Return those of these (owner, user id) where the one blocks the other."""

    async def list_blocked(self, owner: int, limit: int) -> list[int]:
        """Return whom a user blocks, by id."""

    async def put_hidden(self, user_id: int, channel_id: int, seq: int, *, upto: LastMessage | None) -> None:
        """Project that a user closed a direct channel up to this message; None: opened it again."""

    async def read_hidden(self, user_id: int, channel_id: int) -> LastMessage | None:
        """Return the message up to which a user closed a direct channel; None if it is not closed."""

    async def list_hidden(self, user_ids: Sequence[int], limit: int) -> dict[int, dict[int, LastMessage]]:
        """Return of each of these users (at most 200) that closed any: direct channels, and up to which message each.

        Of each user the newest channels, at most `limit`.
        """

    async def close_direct(self, channel_id: int, *, closed: bool) -> None:
        """Say of a direct channel whether anybody may write there; nothing if it is not projected yet."""

    async def rename_recipient(self, user: User) -> None:
        """Show a user in all of its direct channels as it is called now."""

    async def put_job(self, job: Job) -> None:
        """Ask for work, in place of an earlier asking for the same."""

    async def find_jobs(self, before: int, limit: int) -> list[Job]:
        """Return jobs whose `due` is below `before`, the longest due first."""

    async def take_job(self, job: Job, due: int) -> Job | None:
        """Give a job another `due`; return it so, or None if it is no longer as it was seen."""

    async def end_job(self, job: Job) -> None:
        """Take a job away, unless it was asked for anew or somebody else took it up."""

    async def read_users(self, user_ids: Sequence[int]) -> dict[int, User]:
        """Return the users that exist among these (at most 1,000)."""

    async def put_group(self, group: Group, seq: int) -> None:
        """Project a group."""

    async def remove_group(self, group_id: int, seq: int) -> None:
        """Project that a group is gone: a tombstone."""

    async def read_groups(self, group_ids: Sequence[int]) -> dict[int, Group]:
        """Return the groups that exist among these (at most 200), without the gone."""

    async def put_channel(self, channel: Channel, seq: int) -> None:
        """Project a channel of a group, or a direct channel once its stream bears it out."""

    async def remove_channel(self, channel_id: int, seq: int) -> None:
        """Project that a group's channel is gone: a tombstone."""

    async def read_channel(self, channel_id: int) -> Channel | None:
        """Return a channel that is there."""

    async def list_channels(self, group_ids: Sequence[int]) -> dict[int, list[Channel]]:
        """Return the channels of each group (at most 200) by position, then id (a group has at most 500)."""

    async def list_directs(self, user_ids: Sequence[int], limit: int) -> dict[int, list[Channel]]:
        """Return direct channels of each user (at most 200), newest id first, at most `limit` each."""

    async def list_group_directs(self, user_id: int, limit: int) -> list[Channel]:
        """Return group DMs of a user, newest id first, at most `limit`."""

    async def read_channels(self, channel_ids: Sequence[int]) -> dict[int, Channel]:
        """Return those of these channels (at most 1,000) that are there."""

    async def put_role(self, role: Role, seq: int) -> None:
        """Project a role of a group."""

    async def remove_role(self, role_id: int, seq: int) -> None:
        """Project that a role is gone: a tombstone."""

    async def list_roles(self, group_ids: Sequence[int]) -> dict[int, list[Role]]:
        """Return the stored roles of each group (at most 200) by id (a group has at most 250)."""

    async def put_invite(self, invite: Invite, seq: int) -> None:
        """Project an invite, or how often it was used."""

    async def remove_invite(self, code: str, seq: int) -> None:
        """Project that an invite is gone: a tombstone."""

    async def read_invite(self, code: str) -> Invite | None:
        """Return an invite, whether or not it is still good."""

    async def list_invites(self, group_id: int, limit: int) -> list[Invite]:
        """Return a group's invites, whether or not they are still good, by code, at most `limit`."""

    async def put_webhook(self, webhook: Webhook, seq: int) -> None:
        """Project a webhook."""

    async def remove_webhook(self, webhook_id: int, seq: int) -> None:
        """Project that a webhook is gone: a tombstone."""

    async def read_webhook(self, webhook_id: int) -> Webhook | None:
        """Return a webhook that is there."""

    async def list_webhooks(self, group_id: int, limit: int, *, channel_id: int | None = None) -> list[Webhook]:
        """Return a group's webhooks, or those of one of its channels, by id, at most `limit`."""

    async def put_ban(self, ban: Ban, seq: int) -> None:
        """Project that a user may not be in a group."""

    async def lift_ban(self, group_id: int, user_id: int, seq: int) -> None:
        """Project that a user may be in a group again: a tombstone."""

    async def read_ban(self, group_id: int, user_id: int) -> Ban | None:
        """Return the ban of a user from a group, if there is one."""

    async def list_bans(self, group_id: int, after: int, before: int, limit: int) -> list[Ban]:
        """Return a page of bans by user id between the two: the first, the last ones where only `before` bounds it."""

    async def put_member(self, member: Member, seq: int) -> None:
        """Project that somebody is a member."""

    async def remove_member(self, group_id: int, user_id: int, seq: int) -> None:
        """Project that somebody is not a member any more: a tombstone."""

    async def read_member(self, group_id: int, user_id: int) -> MemberState | None:
        """Return a member's projection; None if the user never was one."""

    async def read_members(self, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Member]:
        """Return the members among these (group id, user id), without the gone."""

    async def list_members(self, group_id: int, after: int, limit: int) -> list[Member]:
        """Return a page of members by user id above `after`, without the gone.

        It costs what it holds, whatever the size of the group, once that has a tally.
        """

    async def find_members(self, group_id: int, prefix: str, limit: int) -> list[Member]:
        """Return members whose username, or shown name in the group, begins with `prefix` (a key of names, not empty).

        At most `limit`, by user id.
        """

    async def put_tally(self, group_id: int, tally: Tally) -> None:
        """Project what is known of all members of a group, by the event of the tally's `seq`."""

    async def tally_members(self, group_ids: Sequence[int]) -> dict[int, Tally]:
        """Return the tally of each of these groups (at most 200); where none was put yet, by a survey of all."""

    async def put_membership(self, membership: Membership, seq: int) -> None:
        """Project a user's own view of a group, by the user's stream."""

    async def read_membership(self, user_id: int, group_id: int) -> Membership | None:
        """Return a user's own view of one group, present or not."""

    async def list_memberships(self, user_ids: Sequence[int], limit: int) -> dict[int, list[int]]:
        """Return the ids of the groups that each user (at most 200) is in, ascending, at most `limit` each."""
