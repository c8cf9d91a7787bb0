"""The group store in the memory of one process: for tests, and the measure of the MongoDB one.

Ring 2. Every projection keeps the seq that made it and ignores what is not above it. Held by
tests/contracts/test_group_store.py.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import msgspec

from services.groups.store import Account, Claim, Job, Membership, MemberState, Profile, State, Tally, keys_of
from shared.core.ids import MAX_ID
from shared.core.model import Ban, Channel, ChannelType, Group, Invite, LastMessage, Member, Role, User, Webhook
from shared.core.revocation import Revocations
from shared.core.titles import key_of_name

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Projection(Generic[K, V]):
    """Values by key, each with the seq of the event that made it."""

    def __init__(self) -> None:
        self._entries: dict[K, tuple[int, V]] = {}

    def put(self, key: K, value: V, seq: int) -> None:
        stored = self._entries.get(key)
        if stored is None or stored[0] < seq:
            self._entries[key] = (seq, value)

    def amend(self, key: K, value: V) -> None:
        """Put another value in the place of one, under the seq that it has."""
        self._entries[key] = (self._entries[key][0], value)

    def entry(self, key: K) -> tuple[int, V] | None:
        return self._entries.get(key)

    def get(self, key: K) -> V | None:
        entry = self._entries.get(key)
        return entry[1] if entry is not None else None

    def some(self, keys: Sequence[K]) -> dict[K, V]:
        return {key: self._entries[key][1] for key in keys if key in self._entries}

    def items(self) -> list[tuple[K, V]]:
        return [(key, value) for key, (_, value) in self._entries.items()]

    def values(self) -> list[V]:
        return [value for _, value in self._entries.values()]


class MemoryGroups:
    """A `GroupStore` without a server."""

    def __init__(self) -> None:
        self._claims: dict[str, Claim] = {}
        self._accounts: dict[int, Account] = {}
        self._revocations: _Projection[int, Revocations] = _Projection()
        self._users: _Projection[int, Profile] = _Projection()
        self._blocks: _Projection[tuple[int, int], bool] = _Projection()
        self._jobs: dict[str, Job] = {}
        self._groups: _Projection[int, Group | None] = _Projection()
        self._channels: _Projection[int, Channel | None] = _Projection()
        self._roles: _Projection[int, Role | None] = _Projection()
        self._invites: _Projection[str, Invite | None] = _Projection()
        self._webhooks: _Projection[int, Webhook | None] = _Projection()
        self._bans: dict[int, _Projection[int, Ban | None]] = {}
        self._members: dict[int, _Projection[int, Member | None]] = {}
        self._tallies: _Projection[int, Tally] = _Projection()
        self._memberships: dict[int, _Projection[int, Membership]] = {}
        self._hidden: dict[int, _Projection[int, LastMessage | None]] = {}

    async def claim(self, claim: Claim) -> Claim:
        """Claim a key; return the claim that holds now, ours or an earlier one's."""
        return self._claims.setdefault(claim.key, claim)

    async def replace_claim(self, old: Claim, new: Claim) -> bool:
        """Take over a claim; False if it is no longer `old`."""
        if self._claims.get(old.key) != old:
            return False
        self._claims[old.key] = new
        return True

    async def read_claim(self, key: str) -> Claim | None:
        """Return who holds a key."""
        return self._claims.get(key)

    async def create_account(self, account: Account) -> None:
        """Store an account once."""
        self._accounts.setdefault(account.user_id, account)

    async def read_account(self, user_id: int) -> Account | None:
        """Return an account."""
        return self._accounts.get(user_id)

    async def issue(self, user_id: int, password_hash: str, now: int) -> int | None:
        """Return the time to issue a token at; None if the hash is not the account's."""
        account = self._accounts.get(user_id)
        if account is None or account.password_hash != password_hash or account.state != "active":
            return None
        issued = max(account.issued, now)
        self._accounts[user_id] = msgspec.structs.replace(account, issued=issued)
        return issued

    async def set_state(self, user_id: int, state: State, *, unless: Sequence[State] = ()) -> Account | None:
        """Give an account another state; None if it was in one of `unless`."""
        account = self._accounts.get(user_id)
        if account is None or account.state in unless:
            return None
        changed = msgspec.structs.replace(account, issued=account.issued + 1, state=state)
        if state == "deleted":
            changed = msgspec.structs.replace(changed, password_hash="", email="")
        self._accounts[user_id] = changed
        return changed

    async def set_email(self, user_id: int, email: str) -> bool:
        """Give an account another proved address."""
        account = self._accounts.get(user_id)
        if account is None or account.state == "deleted":
            return False
        self._accounts[user_id] = msgspec.structs.replace(account, email=email)
        return True

    async def replace_password(self, old: Account, password_hash: str) -> bool:
        """Give the account another hash; False if it is no longer `old`."""
        known = self._accounts.get(old.user_id)
        if known is None or (known.password_hash, known.issued) != (old.password_hash, old.issued):
            return False
        self._accounts[old.user_id] = msgspec.structs.replace(known, password_hash=password_hash, issued=old.issued + 1)
        return True

    async def put_revocations(self, user_id: int, revocations: Revocations, seq: int) -> None:
        """Project which tokens of a user are void."""
        self._revocations.put(user_id, revocations, seq)

    async def read_revocations(self, user_ids: Sequence[int]) -> dict[int, Revocations]:
        """Return which tokens of these users are void."""
        return self._revocations.some(user_ids)

    async def put_user(self, user: User, seq: int, *, bio: str = "", owner: int = 0, gone: bool = False) -> None:
        """Project a user's profile."""
        self._users.put(user.id, Profile(user, bio, owner, gone), seq)

    async def list_bots(self, owner: int, limit: int) -> list[Profile]:
        """Return a user's bots by id, without the gone."""
        bots = [one for one in self._users.values() if one.owner == owner and not one.gone]
        return sorted(bots, key=lambda one: one.user.id)[:limit]

    async def read_profile(self, user_id: int) -> Profile | None:
        """Return a user's profile."""
        return self._users.get(user_id)

    async def find_users(self, prefix: str, after: str, limit: int) -> list[User]:
        """Return users by the key of their name."""
        users = ((key_of_name(one.user.username), one.user) for one in self._users.values() if not one.gone)
        found = [(key, user) for key, user in users if key.startswith(prefix) and key > after]
        return [user for _, user in sorted(found, key=lambda pair: pair[0])[:limit]]

    async def put_block(self, owner: int, user_id: int, seq: int, *, at: int, present: bool) -> None:
        """Project whether `owner` blocks a user."""
        self._blocks.put((owner, user_id), present, seq)

    async def read_blocks(self, pairs: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
        """Return those of these (owner, user id) where the one blocks the other."""
        return {pair for pair, present in self._blocks.some(pairs).items() if present}

    async def list_blocked(self, owner: int, limit: int) -> list[int]:
        """Return whom a user blocks, by id."""
        pairs = self._blocks.items()
        return sorted(user_id for (its_owner, user_id), present in pairs if its_owner == owner and present)[:limit]

    async def put_hidden(self, user_id: int, channel_id: int, seq: int, *, upto: LastMessage | None) -> None:
        """Project that a user closed a direct channel up to this message; None: opened it again."""
        self._hidden.setdefault(user_id, _Projection()).put(channel_id, upto, seq)

    async def read_hidden(self, user_id: int, channel_id: int) -> LastMessage | None:
        """Return the message up to which a user closed a direct channel; None if it is not closed."""
        hidden = self._hidden.get(user_id)
        return hidden.get(channel_id) if hidden is not None else None

    async def list_hidden(self, user_ids: Sequence[int], limit: int) -> dict[int, dict[int, LastMessage]]:
        """Return of each of these users that closed any: direct channels, and up to which message each."""
        found: dict[int, dict[int, LastMessage]] = {}
        for user_id in user_ids:
            if (hidden := self._hidden.get(user_id)) is not None:
                its = {one: upto for one, upto in hidden.items() if upto is not None}
                found |= {user_id: {one: its[one] for one in sorted(its, reverse=True)[:limit]}} if its else {}
        return found

    async def close_direct(self, channel_id: int, *, closed: bool) -> None:
        """Say of a direct channel whether anybody may write there."""
        if (channel := self._channels.get(channel_id)) is not None:
            self._channels.amend(channel_id, msgspec.structs.replace(channel, closed=closed))

    async def rename_recipient(self, user: User) -> None:
        """Show a user in all of its direct channels as it is called now."""
        for channel in self._channels.values():
            if channel is not None and any(one.id == user.id for one in channel.recipients):
                recipients = tuple(user if one.id == user.id else one for one in channel.recipients)
                self._channels.amend(channel.id, msgspec.structs.replace(channel, recipients=recipients))

    async def put_job(self, job: Job) -> None:
        """Ask for work, in place of an earlier asking for the same."""
        self._jobs[job.key] = job

    async def find_jobs(self, before: int, limit: int) -> list[Job]:
        """Return jobs whose `due` is below `before`, the longest due first."""
        return sorted((job for job in self._jobs.values() if job.due < before), key=lambda job: job.due)[:limit]

    async def take_job(self, job: Job, due: int) -> Job | None:
        """Give a job another `due`; None if it is no longer as it was seen."""
        if self._jobs.get(job.key) != job:
            return None
        taken = self._jobs[job.key] = Job(job.key, due, job.mark)
        return taken

    async def end_job(self, job: Job) -> None:
        """Take a job away, unless it was asked for anew or somebody else took it up."""
        if self._jobs.get(job.key) == job:
            del self._jobs[job.key]

    async def read_users(self, user_ids: Sequence[int]) -> dict[int, User]:
        """Return the users that exist among these."""
        return {user_id: profile.user for user_id, profile in self._users.some(user_ids).items()}

    async def put_group(self, group: Group, seq: int) -> None:
        """Project a group."""
        self._groups.put(group.id, group, seq)

    async def remove_group(self, group_id: int, seq: int) -> None:
        """Project that a group is gone: a tombstone."""
        self._groups.put(group_id, None, seq)

    async def read_groups(self, group_ids: Sequence[int]) -> dict[int, Group]:
        """Return the groups that exist among these."""
        return {one: group for one, group in self._groups.some(group_ids).items() if group is not None}

    async def put_channel(self, channel: Channel, seq: int) -> None:
        """Project a channel."""
        self._channels.put(channel.id, channel, seq)

    async def remove_channel(self, channel_id: int, seq: int) -> None:
        """Project that a group's channel is gone: a tombstone."""
        self._channels.put(channel_id, None, seq)

    async def read_channel(self, channel_id: int) -> Channel | None:
        """Return a channel."""
        return self._channels.get(channel_id)

    async def read_channels(self, channel_ids: Sequence[int]) -> dict[int, Channel]:
        """Return those of these channels that are there."""
        return {one: channel for one, channel in self._channels.some(channel_ids).items() if channel is not None}

    async def list_group_directs(self, user_id: int, limit: int) -> list[Channel]:
        """Return group DMs of a user, newest id first."""
        there = (one for one in self._channels.values() if one is not None and one.type is ChannelType.GROUP_DIRECT)
        return sorted((one for one in there if one.has(user_id)), key=lambda one: -one.id)[:limit]

    async def list_channels(self, group_ids: Sequence[int]) -> dict[int, list[Channel]]:
        """Return the channels of each group by position, then id."""
        found: dict[int, list[Channel]] = {}
        there = [channel for channel in self._channels.values() if channel is not None]
        for channel in sorted(there, key=lambda channel: (channel.position, channel.id)):
            if channel.group_id in group_ids:
                found.setdefault(channel.group_id, []).append(channel)
        return found

    async def list_directs(self, user_ids: Sequence[int], limit: int) -> dict[int, list[Channel]]:
        """Return direct channels of each user, newest id first."""
        found: dict[int, list[Channel]] = {}
        there = [channel for channel in self._channels.values() if channel is not None]
        for channel in sorted(there, key=lambda channel: -channel.id):
            for recipient in channel.recipients:
                if recipient.id in user_ids and len(its := found.setdefault(recipient.id, [])) < limit:
                    its.append(channel)
        return found

    async def put_role(self, role: Role, seq: int) -> None:
        """Project a role of a group."""
        self._roles.put(role.id, role, seq)

    async def remove_role(self, role_id: int, seq: int) -> None:
        """Project that a role is gone: a tombstone."""
        self._roles.put(role_id, None, seq)

    async def list_roles(self, group_ids: Sequence[int]) -> dict[int, list[Role]]:
        """Return the stored roles of each group by id."""
        found: dict[int, list[Role]] = {}
        for role in sorted((role for role in self._roles.values() if role is not None), key=lambda role: role.id):
            if role.group_id in group_ids:
                found.setdefault(role.group_id, []).append(role)
        return found

    async def put_invite(self, invite: Invite, seq: int) -> None:
        """Project an invite, or how often it was used."""
        self._invites.put(invite.code, invite, seq)

    async def remove_invite(self, code: str, seq: int) -> None:
        """Project that an invite is gone: a tombstone."""
        self._invites.put(code, None, seq)

    async def read_invite(self, code: str) -> Invite | None:
        """Return an invite, whether or not it is still good."""
        return self._invites.get(code)

    async def list_invites(self, group_id: int, limit: int) -> list[Invite]:
        """Return a group's invites, whether or not they are still good, by code, at most `limit`."""
        there = (one for one in self._invites.values() if one is not None and one.group_id == group_id)
        return sorted(there, key=lambda invite: invite.code)[:limit]

    async def put_webhook(self, webhook: Webhook, seq: int) -> None:
        """Project a webhook."""
        self._webhooks.put(webhook.id, webhook, seq)

    async def remove_webhook(self, webhook_id: int, seq: int) -> None:
        """Project that a webhook is gone: a tombstone."""
        self._webhooks.put(webhook_id, None, seq)

    async def read_webhook(self, webhook_id: int) -> Webhook | None:
        """Return a webhook that is there."""
        return self._webhooks.get(webhook_id)

    async def list_webhooks(self, group_id: int, limit: int, *, channel_id: int | None = None) -> list[Webhook]:
        """Return a group's webhooks, or those of one of its channels, by id, at most `limit`."""
        there = (one for one in self._webhooks.values() if one is not None and one.group_id == group_id)
        found = (one for one in there if channel_id is None or one.channel_id == channel_id)
        return sorted(found, key=lambda webhook: webhook.id)[:limit]

    async def put_ban(self, ban: Ban, seq: int) -> None:
        """Project that a user may not be in a group."""
        self._bans.setdefault(ban.group_id, _Projection()).put(ban.user.id, ban, seq)

    async def lift_ban(self, group_id: int, user_id: int, seq: int) -> None:
        """Project that a user may be in a group again: a tombstone."""
        self._bans.setdefault(group_id, _Projection()).put(user_id, None, seq)

    async def read_ban(self, group_id: int, user_id: int) -> Ban | None:
        """Return the ban of a user from a group, if there is one."""
        bans = self._bans.get(group_id)
        return bans.get(user_id) if bans is not None else None

    async def list_bans(self, group_id: int, after: int, before: int, limit: int) -> list[Ban]:
        """Return a page of bans by user id between the two: the first, the last ones where only `before` bounds it."""
        bans = self._bans[group_id].values() if group_id in self._bans else []
        there = sorted((ban for ban in bans if ban is not None), key=lambda ban: ban.user.id)
        there = [ban for ban in there if after < ban.user.id < before]
        return there[:limit] if after or before > MAX_ID else there[-limit:]

    async def put_member(self, member: Member, seq: int) -> None:
        """Project that somebody is a member."""
        self._members.setdefault(member.group_id, _Projection()).put(member.user.id, member, seq)

    async def remove_member(self, group_id: int, user_id: int, seq: int) -> None:
        """Project that somebody is not a member any more: a tombstone."""
        self._members.setdefault(group_id, _Projection()).put(user_id, None, seq)

    async def read_member(self, group_id: int, user_id: int) -> MemberState | None:
        """Return a member's projection; None if the user never was one."""
        members = self._members.get(group_id)
        entry = members.entry(user_id) if members is not None else None
        return MemberState(entry[1], entry[0]) if entry is not None else None

    async def read_members(self, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Member]:
        """Return the members among these (group id, user id), without the gone."""
        found = {pair: self._members[pair[0]].get(pair[1]) for pair in pairs if pair[0] in self._members}
        return {pair: member for pair, member in found.items() if member is not None}

    async def list_members(self, group_id: int, after: int, limit: int) -> list[Member]:
        """Return a page of members by user id above `after`, without the gone."""
        members = self._present(group_id)
        return sorted((member for member in members if member.user.id > after), key=lambda member: member.user.id)[
            :limit
        ]

    async def find_members(self, group_id: int, prefix: str, limit: int) -> list[Member]:
        """Return members whose username, or shown name in the group, begins with `prefix`."""
        found = (one for one in self._present(group_id) if any(key.startswith(prefix) for key in keys_of(one)))
        return sorted(found, key=lambda one: one.user.id)[:limit]

    async def put_tally(self, group_id: int, tally: Tally) -> None:
        """Project what is known of all members of a group."""
        self._tallies.put(group_id, tally, tally.seq)

    async def tally_members(self, group_ids: Sequence[int]) -> dict[int, Tally]:
        """Return the tally of each group; where none was put yet, by a survey."""
        return {one: self._tallies.get(one) or self._survey(one) for one in group_ids}

    def _survey(self, group_id: int) -> Tally:
        ids = [member.user.id for member in self._present(group_id)]
        return Tally(len(ids), min(ids, default=0), max(ids, default=0))

    def _present(self, group_id: int) -> list[Member]:
        members = self._members.get(group_id)
        return [member for member in members.values() if member is not None] if members is not None else []

    async def put_membership(self, membership: Membership, seq: int) -> None:
        """Project a user's own view of a group, by the user's stream."""
        self._memberships.setdefault(membership.user_id, _Projection()).put(membership.group_id, membership, seq)

    async def read_membership(self, user_id: int, group_id: int) -> Membership | None:
        """Return a user's own view of one group, present or not."""
        memberships = self._memberships.get(user_id)
        return memberships.get(group_id) if memberships is not None else None

    async def list_memberships(self, user_ids: Sequence[int], limit: int) -> dict[int, list[int]]:
        """Return the ids of the groups that each user is in, ascending."""
        return {
            user_id: sorted(one.group_id for one in self._memberships[user_id].values() if one.present)[:limit]
            for user_id in user_ids
            if user_id in self._memberships
        }
