"""What users do to groups by themselves: create, join, leave.

Ring 4 (shell). Gathers the facts, lets `services.groups.core.decisions` decide on them, and hands the decision
to `Changes`. The limits per user are read before the decision: two calls at once may pass one by a few.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from services.groups.changes import Changes
from services.groups.claims import Claims
from services.groups.core.decisions import (
    MAX_GROUPS,
    decide_join,
    decide_leave,
    group_created,
    require_room,
)
from services.groups.core.names import group_name_key, group_name_taken, require_group_name
from services.groups.store import GroupStore
from shared.core.errors import Unauthorized
from shared.core.events import AnyBody
from shared.core.group_errors import Banned, TooManyGroups, TooManyMembers, UnknownGroup
from shared.core.ids import IdSource
from shared.core.model import Channel, Group, User
from shared.core.stream import group_stream

log = structlog.get_logger(__name__)


class Memberships:
    """Changes of groups asked for by users. All raise `StoreUnavailable` and `Unavailable` beside what they tell."""

    def __init__(
        self,
        groups: GroupStore,
        changes: Changes,
        claims: Claims,
        ids: IdSource,
        now: Callable[[], int],
        official_group: int,
        max_members: int,
    ) -> None:
        self._groups = groups
        self._changes = changes
        self._claims = claims
        self._ids = ids
        self._now = now
        self._official_group = official_group
        self._max_members = max_members

    async def create_group(self, user_id: int, name: str, *, public: bool) -> tuple[Group, Channel]:
        """Create a group, owned by the user, and its first channel. Raises `InvalidForm`, `TooManyGroups`."""
        name = require_group_name(name)
        owner = await self._require_user(user_id)
        await self.require_room(user_id)
        await self.require_room_to_own(user_id)
        group = Group(self._ids.next_id(self._now()), name, user_id, public)
        event = group_created(group, owner, self._ids.next_id(self._now()), self._now())
        key = group_name_key(name)
        if public and not await self._claims.take(key, group.id):
            raise group_name_taken()

        async def decide(seq: int) -> AnyBody | None:
            if public:
                await self._claims.require_held_by(key, group.id)
            return None if seq else event

        await self._changes.change(group_stream(group.id), decide, answer_stored=True)
        return group, event.channels[0]

    async def join(self, user_id: int, name: str) -> Group:
        """Join a public group by its name; a member stays one. Raises `UnknownGroup`, `TooManyGroups`, `Banned`."""
        key = group_name_key(name)
        group_id = await self._claims.owner_of(key)
        if group_id is None:
            raise UnknownGroup
        return await self._let_in(group_id, user_id, key)

    async def join_official(self, user_id: int) -> None:
        """Let a new user into the official group, public or not. Idempotent; the work of a job."""
        try:
            await self._let_in(self._official_group, user_id)
        except (UnknownGroup, Banned, TooManyGroups, TooManyMembers, Unauthorized) as error:
            log.warning("official_group_not_joined", reason=type(error).__name__)

    async def look_for_official(self) -> None:
        """Say in the log if there is no official group though there should be: then new accounts are in none."""
        if self._official_group and await self._find_group(self._official_group) is None:
            log.warning("official_group_missing", group_id=self._official_group)

    async def _let_in(self, group_id: int, user_id: int, key: str = "") -> Group:
        """Let a user into a group that is public under the name of this key, or that is official."""
        user = await self._require_user(user_id)
        if not await self._is_member(group_id, user_id):
            await self.require_room(user_id)

        async def decide(_: int) -> AnyBody | None:
            is_member = await self._is_member(group_id, user_id)
            is_banned = await self._groups.read_ban(group_id, user_id) is not None
            group = await self._find_group(group_id)
            if group is not None and key and group_name_key(group.name) != key:
                group = None  # it is called otherwise now
            event = decide_join(
                group, is_member=is_member, is_banned=is_banned, user=user, now=self._now(), is_official=not key
            )
            if event is not None:
                await self.require_place(group_id)
            return event

        await self._changes.change(group_stream(group_id), decide)
        group = await self._find_group(group_id)
        if group is None:
            raise UnknownGroup
        return group

    async def leave(self, user_id: int, group_id: int) -> None:
        """Leave a group; to have left already is the same. Raises `UnknownGroup`, `MissingPermissions`."""
        user = await self._require_user(user_id)
        if await self._find_group(group_id) is None:
            raise UnknownGroup

        async def decide(_: int) -> AnyBody | None:
            state = await self._groups.read_member(group_id, user_id)
            return decide_leave(
                await self._find_group(group_id),
                is_member=state is not None and state.member is not None,
                was_member=state is not None,
                user=user,
            )

        await self._changes.change(group_stream(group_id), decide)

    async def _require_user(self, user_id: int) -> User:
        """Return the caller. Raises `Unauthorized` where a token outlived its account's database."""
        users = await self._groups.read_users((user_id,))
        if user_id not in users:
            raise Unauthorized
        return users[user_id]

    async def require_place(self, group_id: int) -> None:
        """Raise `TooManyMembers` for a group that has as many members as one may have."""
        if (await self._groups.tally_members((group_id,)))[group_id].members >= self._max_members:
            raise TooManyMembers

    async def require_room(self, user_id: int) -> None:
        """Raise `TooManyGroups` for who is in as many groups as one may be in."""
        require_room(len(await self._joined(user_id)))

    async def require_room_to_own(self, user_id: int) -> None:
        """Raise `TooManyGroups` for who owns as many groups as one may own."""
        joined = await self._joined(user_id)
        groups = await self._groups.read_groups(joined) if joined else {}
        require_room(0, sum(group.owner_id == user_id for group in groups.values()))

    async def _joined(self, user_id: int) -> list[int]:
        return (await self._groups.list_memberships((user_id,), MAX_GROUPS)).get(user_id, [])

    async def _find_group(self, group_id: int) -> Group | None:
        return (await self._groups.read_groups((group_id,))).get(group_id)

    async def _is_member(self, group_id: int, user_id: int) -> bool:
        state = await self._groups.read_member(group_id, user_id)
        return state is not None and state.member is not None
