"""Members and bans in memory, and what each group counts of its members.

Ring 2. A part of the group store: see `memory_store`.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.groups.memory_projection import Projection
from services.groups.store import MemberState, Tally, keys_of
from shared.core.ids import MAX_ID
from shared.core.model import Ban, Member


class MemoryMembers:
    """The members and bans of a `GroupStore`."""

    def __init__(self) -> None:
        super().__init__()
        self._bans: dict[int, Projection[int, Ban | None]] = {}
        self._members: dict[int, Projection[int, Member | None]] = {}
        self._tallies: Projection[int, Tally] = Projection()

    async def put_member(self, member: Member, seq: int) -> None:
        """Project that somebody is a member."""
        self._members.setdefault(member.group_id, Projection()).put(member.user.id, member, seq)

    async def remove_member(self, group_id: int, user_id: int, seq: int) -> None:
        """Project that somebody is not a member any more: a tombstone."""
        self._members.setdefault(group_id, Projection()).put(user_id, None, seq)

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
        found = (one for one in self._present(group_id) if one.user.id > after)
        return sorted(found, key=lambda one: one.user.id)[:limit]

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

    async def put_ban(self, ban: Ban, seq: int) -> None:
        """Project that a user may not be in a group."""
        self._bans.setdefault(ban.group_id, Projection()).put(ban.user.id, ban, seq)

    async def lift_ban(self, group_id: int, user_id: int, seq: int) -> None:
        """Project that a user may be in a group again: a tombstone."""
        self._bans.setdefault(group_id, Projection()).put(user_id, None, seq)

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
