"""Users in memory, as their streams tell them: profiles, void tokens, blocks, memberships.

Ring 2. A part of the group store: see `memory_store`.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.groups.memory_projection import Projection
from services.groups.store import Membership, Profile
from shared.core.model import LastMessage, User
from shared.core.revocation import Revocations
from shared.core.titles import key_of_name


class MemoryUsers:
    """The users of a `GroupStore`."""

    def __init__(self) -> None:
        super().__init__()
        self._revocations: Projection[int, Revocations] = Projection()
        self._users: Projection[int, Profile] = Projection()
        self._blocks: Projection[tuple[int, int], bool] = Projection()
        self._memberships: dict[int, Projection[int, Membership]] = {}
        self._hidden: dict[int, Projection[int, LastMessage | None]] = {}

    async def put_user(self, user: User, seq: int, *, bio: str = "", owner: int = 0, gone: bool = False) -> None:
        """Project a user's profile."""
        self._users.put(user.id, Profile(user, bio, owner, gone), seq)

    async def read_users(self, user_ids: Sequence[int]) -> dict[int, User]:
        """Return the users that exist among these."""
        return {user_id: profile.user for user_id, profile in self._users.some(user_ids).items()}

    async def read_profile(self, user_id: int) -> Profile | None:
        """Return a user's profile."""
        return self._users.get(user_id)

    async def list_bots(self, owner: int, limit: int) -> list[Profile]:
        """Return a user's bots by id, without the gone."""
        bots = [one for one in self._users.values() if one.owner == owner and not one.gone]
        return sorted(bots, key=lambda one: one.user.id)[:limit]

    async def find_users(self, prefix: str, after: str, limit: int) -> list[User]:
        """Return users by the key of their name."""
        users = ((key_of_name(one.user.username), one.user) for one in self._users.values() if not one.gone)
        found = [(key, user) for key, user in users if key.startswith(prefix) and key > after]
        return [user for _, user in sorted(found, key=lambda pair: pair[0])[:limit]]

    async def put_revocations(self, user_id: int, revocations: Revocations, seq: int) -> None:
        """Project which tokens of a user are void."""
        self._revocations.put(user_id, revocations, seq)

    async def read_revocations(self, user_ids: Sequence[int]) -> dict[int, Revocations]:
        """Return which tokens of these users are void."""
        return self._revocations.some(user_ids)

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
        self._hidden.setdefault(user_id, Projection()).put(channel_id, upto, seq)

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

    async def put_membership(self, membership: Membership, seq: int) -> None:
        """Project a user's own view of a group, by the user's stream."""
        self._memberships.setdefault(membership.user_id, Projection()).put(membership.group_id, membership, seq)

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
