"""Sights: which channels of a group each local user sees, and whose sessions a channel's events go to.

Ring 1 (core). Users with the same roles see the same, so what is computed is kept by roles until roles, channels or
what channels say of them change; and where everybody sees a channel, its audience is the group's own. What
is computed is `shared.core.permissions`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, Generic

from services.gateway.core.intents import Audience
from services.gateway.core.state import LocalChannel, LocalUser, S
from shared.core.model import Member, OverwriteType
from shared.core.permissions import Permission, permissions_of

if TYPE_CHECKING:
    from services.gateway.core.state import LocalGroup

NEVER_MUTED: Final = 1 << 62
"""A time at which every timeout is over: what is asked then does not depend on timeouts."""
_MOST_KEPT: Final = 20_000
"""Permissions kept per group; beyond it they are computed anew."""

Kind = tuple[tuple[int, ...], int]
"""All who have these roles; or, where something is said of that user alone, one user."""


class Sights(Generic[S]):
    """What local users see of one group. `users` and `channels` are the roster's."""

    def __init__(
        self, group: LocalGroup[S], users: Mapping[int, LocalUser[S]], channels: Mapping[int, LocalChannel]
    ) -> None:
        self._group = group
        self._users = users
        self._channels = channels
        self._sights: dict[int, frozenset[int]] = {}
        self._seen_by_kind: dict[Kind, frozenset[int]] = {}
        self._permissions: dict[tuple[Kind, int], int] = {}
        self._named: frozenset[int] | None = None
        self._shared: dict[frozenset[int], frozenset[int]] = {}
        self._tally: Counter[frozenset[int]] = Counter()
        """How many users see each set of channels."""
        self._audiences: dict[int, Audience[S]] = {}
        self._holders: dict[Permission, tuple[S, ...]] = {}

    # Who is here.

    def enter(self, user_id: int) -> None:
        """Let a local member see what it may."""
        self.leave(user_id)
        sight = self._sights[user_id] = self._see(self._member(user_id))
        self._tally[sight] += 1

    def leave(self, user_id: int) -> None:
        """Let a user see nothing any more."""
        if (sight := self._sights.pop(user_id, None)) is not None:
            self._tally[sight] -= 1
            if not self._tally[sight]:
                del self._tally[sight]
        self._audiences.clear()
        self._holders.clear()

    def stir(self) -> None:
        """Take in that sessions came or went."""
        self._audiences.clear()
        self._holders.clear()

    # What is so.

    def of(self, user_id: int) -> frozenset[int]:
        """Return the channels that a local member sees: the same set for all who see the same."""
        return self._sights.get(user_id, frozenset())

    def audience(self, channel_id: int) -> Audience[S]:
        """Return the sessions that see a channel; the same tuple until something changes.

        It is the group's audience itself where all see the channel.
        """
        audience = self._audiences.get(channel_id)
        if audience is None:
            if all(channel_id in sight for sight in self._tally):
                audience = self._group.audience
            else:
                there = (user_id for user_id, sight in self._sights.items() if channel_id in sight)
                audience = Audience(session for user_id in there for session in self._users[user_id].sessions)
            self._audiences[channel_id] = audience
        return audience

    def holders(self, needed: Permission) -> tuple[S, ...]:
        """Return the sessions of local members who have a permission in the group; the same tuple until it changes."""
        holders = self._holders.get(needed)
        if holders is None:
            holders = self._holders[needed] = tuple(
                session
                for user_id in self._sights
                if self.group_permissions(user_id) & needed
                for session in self._users[user_id].sessions
            )
        return holders

    def group_permissions(self, user_id: int) -> int:
        """Return what a local member may do in the group, but for timeouts."""
        group = self._group
        return permissions_of(group.group, group.roles, self._member(user_id), NEVER_MUTED)

    def permissions(self, user_id: int, channel_id: int, now: int) -> int:
        """Return what a local member may do in a channel. `now` is Unix ms."""
        member, channel, group = self._member(user_id), self._channels[channel_id].channel, self._group
        if member.muted_until > now:
            return permissions_of(group.group, group.roles, member, now, channel)
        key = self._kind(member), channel_id
        held = self._permissions.get(key)
        if held is None:
            if len(self._permissions) >= _MOST_KEPT:
                self._permissions.clear()
            held = self._permissions[key] = permissions_of(group.group, group.roles, member, NEVER_MUTED, channel)
        return held

    # What changes.

    def look_again(self, user_ids: Iterable[int] | None = None) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
        """See what is so now, for all local members or for these.

        Return by channel who sees it since now, and who sees it no more.
        """
        if user_ids is None:
            self._seen_by_kind.clear()
            self._permissions.clear()
            self._shared.clear()
            self._named = None
            user_ids = tuple(self._sights)
        gained: dict[int, list[int]] = {}
        lost: dict[int, list[int]] = {}
        for user_id in user_ids:
            before = self._sights.get(user_id)
            if before is None:
                continue
            self.enter(user_id)
            now = self._sights[user_id]
            if now is before:
                continue
            for channel_id in now - before:
                gained.setdefault(channel_id, []).append(user_id)
            for channel_id in before - now:
                lost.setdefault(channel_id, []).append(user_id)
        return gained, lost

    def _member(self, user_id: int) -> Member:
        return self._users[user_id].groups[self._group.group.id].member

    def _kind(self, member: Member) -> Kind:
        if self._named is None:
            self._named = frozenset(
                one.id
                for channel_id in self._group.channels
                for one in self._channels[channel_id].channel.overwrites
                if one.type is OverwriteType.MEMBER
            )
        user_id = member.user.id
        is_alone = user_id in self._named or user_id == self._group.group.owner_id
        return member.roles, user_id if is_alone else 0

    def _see(self, member: Member) -> frozenset[int]:
        kind = self._kind(member)
        seen = self._seen_by_kind.get(kind)
        if seen is None:
            group = self._group
            in_group = permissions_of(group.group, group.roles, member, NEVER_MUTED)
            seen = frozenset(
                channel_id
                for channel_id in group.channels
                if (
                    permissions_of(group.group, group.roles, member, NEVER_MUTED, channel)
                    if (channel := self._channels[channel_id].channel).overwrites
                    else in_group
                )
                & Permission.VIEW_CHANNEL
            )
            seen = self._seen_by_kind[kind] = self._shared.setdefault(seen, seen)
        return seen
