"""What is so: groups, channels, members, access and past changes, for the REST routes and the RPC handlers.

Ring 4 (shell). The head of each channel is read after the call came. What gateways begin with is in `snapshots`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from services.groups.core.decisions import MAX_GROUPS
from services.groups.core.names import require_prefix
from services.groups.store import GroupStore
from shared.cache import Cache, CacheUse
from shared.core.calls import (
    SESSION_DIRECTS,
    Access,
    ChannelView,
    DirectView,
    EventPage,
    Mentionable,
    WebhookView,
    is_hidden,
)
from shared.core.change import event_of_change
from shared.core.errors import MissingAccess, MissingPermissions
from shared.core.group_errors import UnknownBan, UnknownChannel, UnknownGroup, UnknownMember
from shared.core.model import Ban, Channel, ChannelType, Group, Member, Role, User
from shared.core.permissions import DIRECT, Permission, permissions_of
from shared.core.revocation import NOTHING_REVOKED, Revocations
from shared.core.roles import all_roles, known_only, known_overwrites
from shared.core.stream import Event, Head, channel_stream, group_stream
from shared.core.titles import key_of_name
from shared.core.webhooks import PERMISSIONS, author_of
from shared.joining import Joining
from shared.kept_access import ACCESS_S, KeptAccess
from shared.streams import StreamStore

MAX_EVENTS_READ: Final = 100
_MOVES: Final = 2
"""How often a webhook is looked for in its channel, since it may be given another one meanwhile."""
_access_decoder = msgspec.msgpack.Decoder(Access)


def _decode_access(facts: bytes) -> Access | None:
    """Return cached facts; None for what another release has put there."""
    try:
        return _access_decoder.decode(facts)
    except msgspec.MsgspecError:
        return None


class Views:
    """Reads. All raise `StoreUnavailable` and `Unavailable`."""

    def __init__(
        self, groups: GroupStore, streams: StreamStore, cache: Cache, kept: KeptAccess, now: Callable[[], int]
    ) -> None:
        self._groups = groups
        self._cache = cache
        self._kept = kept
        self._now = now
        self._streams = streams
        self._joining: Joining[Access] = Joining()
        self._use = CacheUse()
        """Of access that processes share."""

    def statistics(self) -> dict[str, float]:
        """Return figures for metrics."""
        return {**self._use.statistics("access"), **self._kept.statistics()}

    async def read_access(self, channel_id: int, user_id: int) -> Access:
        """Return what a user may do in a channel, by facts complete to at least `group_seq`.

        Whatever was answered or published before this call is in them: both come after the head was raised.
        So the head is read before the facts, and cached facts are used only under the same head: one read
        instead of four, and never stale. First what this process keeps, then what processes share.
        """
        if (kept := await self._kept.find(channel_id, user_id)) is not None:
            return kept
        key = f"access:{channel_id}:{user_id}"
        known = await self._cache.get(key)
        if known is not None:
            seq, facts = known
            access = _decode_access(facts)
            if access is not None and access.channel is not None:
                head = await self._streams.read_head(group_stream(access.channel.group_id))
                if head.projected == seq:
                    self._use.hits += 1
                    self._kept.keep(channel_id, user_id, access)
                    return access
        self._use.note_miss(was_there=known is not None)
        return await self._joining.ask((channel_id, user_id), lambda: self._read_anew(key, channel_id, user_id))

    async def _read_anew(self, key: str, channel_id: int, user_id: int) -> Access:
        """Read what a user may do, and cache it: also that it is nothing, but not that there is no such channel.

        A channel may be there that is answered to be stored, and not projected yet.
        """
        access = await self._read_access(channel_id, user_id)
        if access.lasts:
            self._kept.keep(channel_id, user_id, access)
            await self._cache.put(key, access.group_seq, msgspec.msgpack.encode(access), ttl_s=ACCESS_S)
        return access

    async def _read_access(self, channel_id: int, user_id: int) -> Access:
        channel, user = await asyncio.gather(self._groups.read_channel(channel_id), self.read_user(user_id))
        if channel is None:
            return Access(None, user, 0, 0)
        if user is None:
            return await self._read_access_of_webhook(channel, user_id)
        if not channel.group_id:
            return Access(channel, user, 0, DIRECT) if channel.has(user_id) else Access(None, user, 0, 0)
        group_id = channel.group_id
        head = await self._streams.read_head(group_stream(group_id))
        # The channel once more: what is told is complete to the head.
        channel, groups, roles, state = await asyncio.gather(
            self._groups.read_channel(channel_id),
            self._groups.read_groups((group_id,)),
            self._groups.list_roles((group_id,)),
            self._groups.read_member(group_id, user_id),
        )
        group = groups.get(group_id)
        if channel is None or group is None:
            return Access(None, user, 0, 0)
        by_id = all_roles(group_id, roles.get(group_id, ()))
        channel = known_overwrites(channel, by_id)
        if state is None or state.member is None:
            return Access(channel, user, head.projected, 0, lasts=True)
        now, member = self._now(), state.member
        permissions = permissions_of(group, by_id, member, now, channel)
        return Access(channel, user, head.projected, permissions, member, lasts=member.muted_until <= now)

    async def _read_access_of_webhook(self, channel: Channel, webhook_id: int) -> Access:
        """Return what a webhook may do in a channel: what all may, if it is the channel's, else nothing."""
        head = await self._streams.read_head(group_stream(channel.group_id))
        webhook, here, groups = await asyncio.gather(
            self._groups.read_webhook(webhook_id),
            self._groups.read_channel(channel.id),
            self._groups.read_groups((channel.group_id,)),
        )
        if webhook is None or here is None or webhook.channel_id != here.id or here.group_id not in groups:
            return Access(None, None, 0, 0)
        return Access(here, author_of(webhook), head.projected, PERMISSIONS, lasts=True)

    async def read_webhook(self, webhook_id: int) -> WebhookView:
        """Return a webhook with its channel; nothing if there is none, or its channel is gone."""
        for _ in range(_MOVES):
            webhook = await self._groups.read_webhook(webhook_id)
            if webhook is None:
                break
            access = await self.read_access(webhook.channel_id, webhook_id)
            if access.channel is not None:
                return WebhookView(webhook, access)
        return WebhookView()

    async def read_mentionable(self, group_id: int, user_ids: Sequence[int], role_ids: Sequence[int]) -> Mentionable:
        """Return those of these users who are members of a group, and those of these roles that it has; as asked."""
        members = await self._groups.read_members([(group_id, user_id) for user_id in user_ids]) if user_ids else {}
        listed = await self._groups.list_roles((group_id,)) if role_ids else {}
        # @everyone has a role's id, too, and is called by name only.
        roles = {role.id: role for role in listed.get(group_id, ()) if role.id != group_id}
        there = tuple(role_id for role_id in role_ids if role_id in roles)
        return Mentionable(
            tuple(members[key].user for one in user_ids if (key := (group_id, one)) in members),
            there,
            tuple(role_id for role_id in there if roles[role_id].mentionable),
        )

    async def read_changes(self, stream: str, after_seq: int, limit: int) -> EventPage:
        """Return events of a group's or user's stream after a seq, as far as they are projected."""
        head = await self._streams.read_head(stream)
        events: list[Event] = []
        seq = max(after_seq, 0) + 1
        limit = min(max(limit, 1), MAX_EVENTS_READ)
        while seq <= head.projected and len(events) < limit:
            bucket = await self._streams.find_bucket_of_seq(stream, seq)
            if bucket is None:
                break
            events += [event_of_change(stream, record) for record in bucket.records() if seq <= record.seq]
            seq = bucket.next_seq
        events = [event for event in events if event.record.seq <= head.projected][:limit]
        last = events[-1].record.seq if events else head.projected
        return EventPage(tuple(events), has_more=last < head.projected)

    async def read_channel(self, channel_id: int, user_id: int) -> ChannelView:
        """Return a channel with its head. Raises `UnknownChannel`, `MissingAccess`."""
        access = await self.read_access(channel_id, user_id)
        if access.channel is None:
            raise UnknownChannel
        if not access.can_view:
            raise MissingAccess
        (view,) = await self.with_heads((access.channel,))
        return view

    async def type_of(self, channel_id: int) -> ChannelType | None:
        """Return of which type a channel is; None if there is none."""
        channel = await self._groups.read_channel(channel_id)
        return channel.type if channel is not None else None

    async def read_user(self, user_id: int) -> User | None:
        """Return a user."""
        return (await self._groups.read_users((user_id,))).get(user_id)

    async def read_revocations(self, user_id: int) -> Revocations:
        """Return which tokens of a user are void."""
        return (await self._groups.read_revocations((user_id,))).get(user_id, NOTHING_REVOKED)

    async def require_group(self, group_id: int, user_id: int) -> Group:
        """Return a group to its member. Raises `UnknownGroup` for all others, so that nobody can probe for groups."""
        state = await self._groups.read_member(group_id, user_id)
        group = (await self._groups.read_groups((group_id,))).get(group_id)
        if state is None or state.member is None or group is None:
            raise UnknownGroup
        return group

    async def list_groups(
        self, user_id: int, before: int | None, after: int | None, limit: int
    ) -> list[tuple[Group, int]]:
        """Return a page of a user's groups by id, ascending, and what the user may do in each.

        The first above `after`, or the last below `before`.
        """
        ids = (await self._groups.list_memberships((user_id,), MAX_GROUPS)).get(user_id, [])
        ids = [one for one in ids if (after is None or one > after) and (before is None or one < before)]
        page = ids[-limit:] if before is not None and after is None else ids[:limit]
        if not page:
            return []
        groups, roles, members = await asyncio.gather(
            self._groups.read_groups(page),
            self._groups.list_roles(page),
            self._groups.read_members([(one, user_id) for one in page]),
        )
        now = self._now()
        return [
            (groups[one], permissions_of(groups[one], all_roles(one, roles.get(one, ())), member, now))
            for one in page
            if one in groups and (member := members.get((one, user_id))) is not None
        ]

    async def list_roles(self, group_id: int) -> list[Role]:
        """Return a group's roles, the lowest first."""
        return [*reversed((await self._roles_of(group_id)).values())]

    async def list_channels(self, group_id: int, user_id: int) -> list[ChannelView]:
        """Return the channels of a group that its member may see, with their heads."""
        groups, roles, state, channels = await asyncio.gather(
            self._groups.read_groups((group_id,)),
            self._roles_of(group_id),
            self._groups.read_member(group_id, user_id),
            self._groups.list_channels((group_id,)),
        )
        if state is None or (member := state.member) is None or group_id not in groups:
            return []
        group, now = groups[group_id], self._now()
        return await self.with_heads(
            known_overwrites(channel, roles)
            for channel in channels.get(group_id, ())
            if permissions_of(group, roles, member, now, channel) & Permission.VIEW_CHANNEL
        )

    async def list_members(self, group_id: int, after: int, limit: int) -> list[Member]:
        """Return a page of a group's members by user id."""
        members, roles = await asyncio.gather(
            self._groups.list_members(group_id, after, limit), self._roles_of(group_id)
        )
        return [known_only(member, roles) for member in members]

    async def find_members(self, group_id: int, user_ids: Sequence[int], prefix: str, limit: int) -> list[Member]:
        """Return those of some users who are members, or members whose name begins with `prefix`, by user id."""
        if prefix:
            return await self._groups.find_members(group_id, key_of_name(prefix), limit)
        found = await self._groups.read_members([(group_id, user_id) for user_id in user_ids])
        return sorted(found.values(), key=lambda member: member.user.id)

    async def page_members(self, group_id: int, after: int, limit: int) -> list[Member]:
        """Return a page of a group's members by user id, with all roles that were ever given to them."""
        return await self._groups.list_members(group_id, after, limit)

    async def search_members(self, group_id: int, query: str, limit: int) -> list[Member]:
        """Return members of a group who are called something that begins so, folded. Raises `InvalidForm`."""
        members, roles = await asyncio.gather(
            self._groups.find_members(group_id, require_prefix(query), limit), self._roles_of(group_id)
        )
        return [known_only(member, roles) for member in members]

    async def require_member(self, group_id: int, user_id: int) -> Member:
        """Return one member of a group. Raises `UnknownMember`."""
        state, roles = await asyncio.gather(self._groups.read_member(group_id, user_id), self._roles_of(group_id))
        if state is None or state.member is None:
            raise UnknownMember
        return known_only(state.member, roles)

    async def require_permission(self, group_id: int, user_id: int, needed: Permission) -> None:
        """Let a member pass who has these permissions in the group. Raises `UnknownGroup`, `MissingPermissions`."""
        group = await self.require_group(group_id, user_id)
        state, roles = await asyncio.gather(self._groups.read_member(group_id, user_id), self._roles_of(group_id))
        if state is None or state.member is None:
            raise UnknownGroup
        if needed & ~permissions_of(group, roles, state.member, self._now()):
            raise MissingPermissions

    async def list_bans(self, group_id: int, after: int, before: int, limit: int) -> list[Ban]:
        """Return a page of a group's bans by user id."""
        return await self._groups.list_bans(group_id, after, before, limit)

    async def require_ban(self, group_id: int, user_id: int) -> Ban:
        """Return the ban of a user. Raises `UnknownBan`."""
        if (ban := await self._groups.read_ban(group_id, user_id)) is None:
            raise UnknownBan
        return ban

    async def _roles_of(self, group_id: int) -> dict[int, Role]:
        return all_roles(group_id, (await self._groups.list_roles((group_id,))).get(group_id, ()))

    async def list_directs(self, user_id: int) -> list[DirectView]:
        """Return a user's direct channels with their heads, newest first, without those that the user closed."""
        found, hidden = await asyncio.gather(
            self._groups.list_directs((user_id,), SESSION_DIRECTS),
            self._groups.list_hidden((user_id,), SESSION_DIRECTS),
        )
        views = await self.with_heads(found.get(user_id, ()))
        its = hidden.get(user_id, {})
        return [
            DirectView(view.channel, view.last_seq, view.last_message_id)
            for view in views
            if not is_hidden(its.get(view.channel.id), view.last_message_id)
        ]

    async def with_heads(self, channels: Iterable[Channel]) -> list[ChannelView]:
        """Return channels with their heads, read now."""
        channels = tuple(channels)
        heads = await self._streams.read_heads([channel_stream(channel.id) for channel in channels]) if channels else {}
        views = []
        for channel in channels:
            head = heads.get(channel_stream(channel.id)) or Head("")
            views.append(ChannelView(channel, head.seq, head.last_id))
        return views
