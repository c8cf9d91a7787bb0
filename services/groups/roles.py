"""What members do to the roles of their group: create, change, order, delete.

Ring 4 (shell). Gathers the facts, lets `services.groups.core.roles` decide on them, and hands the decision to
`Changes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.groups.changes import Changes
from services.groups.core.names import require_role_name
from services.groups.core.roles import (
    decide_change_role,
    decide_create_role,
    decide_delete_role,
    decide_move_roles,
)
from services.groups.facts import FactReader
from shared.core.change import Actor
from shared.core.events import AnyBody
from shared.core.ids import IdSource
from shared.core.model import Role
from shared.core.stream import group_stream


class Roles:
    """Changes of roles. All raise `StoreUnavailable` and `Unavailable` beside what the decisions tell."""

    def __init__(self, facts: FactReader, changes: Changes, ids: IdSource, now: Callable[[], int]) -> None:
        self._facts = facts
        self._changes = changes
        self._ids = ids
        self._now = now

    async def create(self, actor: Actor, group_id: int, fields: Mapping[str, Any]) -> Role:
        """Add a role to a group."""
        fields = _checked(fields)
        role_id = self._ids.next_id(self._now())
        created: list[Role] = []

        async def decide(_: int) -> AnyBody | None:
            event = decide_create_role(await self._facts.facts(group_id, actor.user_id), role_id, fields)
            created[:] = [event.role]
            return event

        await self._changes.change(group_stream(group_id), decide, actor=actor, answer_stored=True)
        return created[0]

    async def change(self, actor: Actor, group_id: int, role_id: int, fields: Mapping[str, Any]) -> Role:
        """Change a role; return it as it is then."""
        fields = _checked(fields)
        changed: list[Role] = []

        async def decide(_: int) -> AnyBody | None:
            facts = await self._facts.facts(group_id, actor.user_id)
            event = decide_change_role(facts, role_id, fields)
            changed[:] = [event.role if event is not None else facts.roles[role_id]]
            return event

        await self._changes.change(group_stream(group_id), decide, actor=actor)
        return changed[0]

    async def move(self, actor: Actor, group_id: int, positions: Sequence[tuple[int, int]]) -> None:
        """Order roles."""

        async def decide(_: int) -> AnyBody | None:
            return decide_move_roles(await self._facts.facts(group_id, actor.user_id), positions)

        await self._changes.change(group_stream(group_id), decide, actor=actor)

    async def delete(self, actor: Actor, group_id: int, role_id: int) -> None:
        """Delete a role."""

        async def decide(_: int) -> AnyBody | None:
            return decide_delete_role(await self._facts.facts(group_id, actor.user_id), role_id)

        await self._changes.change(group_stream(group_id), decide, actor=actor)


def _checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {**fields, "name": require_role_name(fields["name"])} if "name" in fields else dict(fields)
