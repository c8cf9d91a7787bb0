"""Repairing: what a unit that is held back has missed is read and applied, so that it can go on.

Ring 4 (shell). All read heads after the loss, so what they find covers it. Rule 9 of docs/rules.md; which unit is
repaired when is `services.gateway.following`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from services.gateway.core.hub import Hub
from services.gateway.core.outs import Out
from services.gateway.reading import Reading
from services.gateway.sessions import LiveSession
from shared.core.calls import Access, DirectView, EventPage, ReadAccess, ReadChanges, ReadChannelEvents
from shared.core.model import Channel, ChannelType
from shared.core.stream import Event, channel_stream, group_stream, owner_of, user_stream


class Repairing:
    """Repairs units, each of which is held back meanwhile. `clock` is seconds that never go back.

    `perform` does what the hub says; `job_of` returns what is at work on a unit; `is_asked_again` says whether
    something more of a unit was lost since its repair began.
    """

    def __init__(
        self,
        hub: Hub[LiveSession],
        reading: Reading,
        *,
        perform: Callable[[Iterable[Out[LiveSession]]], None],
        job_of: Callable[[str], asyncio.Future[Any] | None],
        is_asked_again: Callable[[str], bool],
        clock: Callable[[], float],
    ) -> None:
        self._hub = hub
        self._reading = reading
        self._perform = perform
        self._job_of = job_of
        self._is_asked_again = is_asked_again
        self._clock = clock

    async def repair(self, unit: str) -> None:
        """Read and apply what a unit missed, once. Raises `Unavailable`."""
        repairs = {"g": self._repair_group, "u": self._repair_user, "c": self._repair_direct}
        await repairs[unit[0]](owner_of(unit))

    async def _repair_group(self, group_id: int) -> None:
        await self._wait_users(group_id)
        unit = group_stream(group_id)
        if (view := await self._reading.groups.ask(group_id)) is None:
            await self._catch_up(unit, unit)  # the last that its stream says is that it is deleted
            return
        await self._catch_up(unit, unit, view.seq)
        for one in view.channels:
            await self._catch_up(unit, channel_stream(one.channel.id), one.last_seq)

    async def _wait_users(self, group_id: int) -> None:
        """Wait until the group's local users are whole: what they missed may say that they are out."""
        while (group := self._hub.roster.groups.get(group_id)) is not None:
            units = (user_stream(user_id) for user_id in group.users)
            jobs = {job for unit in units if self._hub.is_held(unit) and (job := self._job_of(unit)) is not None}
            if not jobs:
                return
            await asyncio.wait(jobs)

    async def _repair_user(self, user_id: int) -> None:
        unit = user_stream(user_id)
        if (view := await self._reading.sessions.ask(user_id)) is None:
            return
        await self._catch_up(unit, unit, view.user_seq)
        for direct in view.directs:
            self._perform(self._hub.roster.directs.put(direct))
            self._perform(self._hub.roster.compare(channel_stream(direct.channel.id), direct.last_seq))

    async def _repair_direct(self, channel_id: int) -> None:
        unit = channel_stream(channel_id)
        if channel_id in self._hub.roster.channels or await self._meet_direct(unit):
            await self._catch_up(unit, unit)

    async def _meet_direct(self, stream: str) -> bool:
        """Follow a direct channel that turned up by an event, not by its creation; False if it is not for us."""
        first = self._hub.held_events(stream)[0]
        for user_id in first.to:
            if user_id not in self._hub.roster.users:
                continue
            access: Access = await self._reading.call(ReadAccess(owner_of(stream), user_id))
            if access.channel is not None and access.can_view:
                direct = await self._met(access.channel, user_id, first)
                if direct is not None:
                    self._perform(self._hub.roster.directs.put(direct))
                return direct is not None
        return False

    async def _met(self, channel: Channel, user_id: int, event: Event) -> DirectView | None:
        """Return a direct channel as it was before an event of it; a group DM, which is new to its user, as it is now.

        Of that the event may be told again, and be from a time when the user was in it before.
        """
        if channel.type is ChannelType.GROUP_DIRECT:
            view = await self._reading.sessions.ask(user_id)
            return next((one for one in view.directs if one.channel.id == channel.id), None) if view else None
        before: EventPage = await self._reading.call(ReadChannelEvents(channel.id, max(event.record.seq - 2, 0), 1))
        last_id = before.events[0].record.id if before.events else 0
        return DirectView(channel, event.record.seq - 1, last_id)

    async def _catch_up(self, unit: str, stream: str, head: int | None = None) -> None:
        """Read and apply a followed stream's events from our position on, if it is behind `head` (None: unknown).

        Ends where something more was lost meanwhile: the unit is then repaired once more.
        """
        while (position := self._hub.roster.position(stream)) is not None and (head is None or position < head):
            page: EventPage = await self._reading.call(
                ReadChannelEvents(owner_of(stream), position)
                if stream.startswith("c:")
                else ReadChanges(stream, position)
            )
            if self._is_asked_again(unit):
                return
            if page.after > position:
                self._hub.skip(stream, page.after, page.after_id)
            for event in page.events:
                self._perform(self._hub.fill(event, self._clock()))
            if not page.has_more or self._hub.roster.position(stream) == position:
                return
