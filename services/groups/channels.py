"""What members do to the channels of their group: create, change, order, delete; and say who may do what there.

Ring 4 (shell). Gathers the facts, lets `services.groups.core.channels` decide on them, and hands the decision to
`Changes`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from services.groups.changes import Changes
from services.groups.core.authority import Facts
from services.groups.core.channels import (
    decide_change_channel,
    decide_create_channel,
    decide_delete_channel,
    decide_drop_overwrite,
    decide_lock_channel,
    decide_move_channels,
    decide_put_overwrite,
)
from services.groups.core.names import require_channel_name, require_topic
from services.groups.facts import FactReader
from shared.core.change import Actor
from shared.core.events import AnyBody
from shared.core.group_events import ChannelChanged
from shared.core.ids import IdSource
from shared.core.model import Channel, ChannelType, Member, Overwrite, OverwriteType
from shared.core.stream import group_stream


class Channels:
    """Changes of channels. All raise `StoreUnavailable` and `Unavailable` beside what the decisions tell."""

    def __init__(self, facts: FactReader, changes: Changes, ids: IdSource, now: Callable[[], int]) -> None:
        self._facts = facts
        self._changes = changes
        self._ids = ids
        self._now = now

    async def create(self, actor: Actor, group_id: int, kind: ChannelType, fields: Mapping[str, Any]) -> Channel:
        """Add a channel to a group."""
        fields = _checked(fields)
        channel_id = self._ids.next_id(self._now())
        created: list[Channel] = []

        async def decide(_: int) -> AnyBody | None:
            facts = await self._facts.facts(group_id, actor.user_id)
            channels = await self._facts.channels(group_id)
            members = await self._targets(group_id, fields.get("overwrites", ()))
            event = decide_create_channel(facts, channels, members, channel_id, kind, fields)
            created[:] = [event.channel]
            return event

        await self._changes.change(group_stream(group_id), decide, actor=actor, answer_stored=True)
        return created[0]

    async def change(self, actor: Actor, channel_id: int, fields: Mapping[str, Any]) -> Channel:
        """Change a channel of a group; return it as it is then."""
        fields = _checked(fields)
        group_id = await self._facts.group_of(channel_id)
        changed: list[Channel] = []

        async def decide(_: int) -> AnyBody | None:
            facts = await self._facts.facts(group_id, actor.user_id)
            channels = await self._facts.channels(group_id)
            before = channels[channel_id].overwrites if channel_id in channels else ()
            members = await self._targets(group_id, (*before, *fields["overwrites"]) if "overwrites" in fields else ())
            event = decide_change_channel(facts, channels, members, channel_id, fields)
            changed[:] = [event.channel if event is not None else channels[channel_id]]
            return event

        await self._changes.change(group_stream(group_id), decide, actor=actor)
        return changed[0]

    async def delete(self, actor: Actor, channel_id: int) -> Channel:
        """Delete a channel of a group; return it as it was."""
        group_id = await self._facts.group_of(channel_id)
        deleted: list[Channel] = []

        async def decide(_: int) -> AnyBody | None:
            facts = await self._facts.facts(group_id, actor.user_id)
            event = decide_delete_channel(facts, await self._facts.channels(group_id), channel_id)
            deleted[:] = [event.channel]
            return event

        await self._changes.change(group_stream(group_id), decide, actor=actor)
        return deleted[0]

    async def move(
        self, actor: Actor, group_id: int, moves: Sequence[Mapping[str, int]], locked: Collection[int] = ()
    ) -> None:
        """Place channels of a group elsewhere; then give those `locked` the overwrites of their category.

        Where that is refused nothing is moved. It is one change, and then one for each that is locked; a repeat goes on
        where an earlier call was cut off.
        """

        async def decide(_: int) -> AnyBody | None:
            facts = await self._facts.facts(group_id, actor.user_id)
            channels = await self._facts.channels(group_id)
            event = decide_move_channels(facts, channels, moves)
            parents = {move["id"]: move["parent_id"] for move in moves if "parent_id" in move}
            for channel_id in locked:
                await self._locking(group_id, facts, channels, channel_id, parents.get(channel_id))
            return event

        await self._changes.change(group_stream(group_id), decide, actor=actor)
        for channel_id in locked:
            await self._lock(actor, group_id, channel_id)

    async def _lock(self, actor: Actor, group_id: int, channel_id: int) -> None:
        async def decide(_: int) -> AnyBody | None:
            facts = await self._facts.facts(group_id, actor.user_id)
            channels = await self._facts.channels(group_id)
            return await self._locking(group_id, facts, channels, channel_id, None)

        await self._changes.change(group_stream(group_id), decide, actor=actor)

    async def put_overwrite(self, actor: Actor, channel_id: int, overwrite: Overwrite) -> None:
        """Say what a role or member may do in a channel."""
        group_id = await self._facts.group_of(channel_id)

        async def decide(_: int) -> AnyBody | None:
            facts = await self._facts.facts(group_id, actor.user_id)
            channels = await self._facts.channels(group_id)
            members = await self._targets(group_id, (overwrite,))
            return decide_put_overwrite(facts, channels, members, channel_id, overwrite)

        await self._changes.change(group_stream(group_id), decide, actor=actor)

    async def drop_overwrite(self, actor: Actor, channel_id: int, target_id: int) -> None:
        """Say nothing more of a role or member in a channel."""
        group_id = await self._facts.group_of(channel_id)

        async def decide(_: int) -> ChannelChanged:
            facts = await self._facts.facts(group_id, actor.user_id)
            channels = await self._facts.channels(group_id)
            members = await self._facts.members(group_id, (target_id,))
            return decide_drop_overwrite(facts, channels, members, channel_id, target_id)

        await self._changes.change(group_stream(group_id), decide, actor=actor)

    async def _locking(
        self,
        group_id: int,
        facts: Facts,
        channels: Mapping[int, Channel],
        channel_id: int,
        parent_id: int | None,
    ) -> ChannelChanged | None:
        channel = channels.get(channel_id)
        category = channel.parent_id if channel is not None and parent_id is None else parent_id
        concerned = (one for one in (channel, channels.get(category or 0)) if one is not None)
        members = await self._targets(group_id, chain.from_iterable(one.overwrites for one in concerned))
        return decide_lock_channel(facts, channels, members, channel_id, parent_id)

    async def _targets(self, group_id: int, overwrites: Iterable[Overwrite]) -> dict[int, Member]:
        named = dict.fromkeys(one.id for one in overwrites if one.type is OverwriteType.MEMBER)
        return await self._facts.members(group_id, named)


def _checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    checked = dict(fields)
    if "name" in fields:
        checked["name"] = require_channel_name(fields["name"])
    if "topic" in fields:
        checked["topic"] = require_topic(fields["topic"])
    return checked
