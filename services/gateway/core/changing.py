"""What an event of a group's stream changes on this node, and who is told.

Ring 1 (core). The event's own dispatches go to those who see what it is about before and after; whoever gains sight of
a channel gets CHANNEL_CREATE with its head, whoever loses it CHANNEL_DELETE. Called by `hub`, in the stream's order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Generic

import msgspec

from services.gateway.core.outs import Dispatch, Out
from services.gateway.core.roster import Roster
from services.gateway.core.state import LocalGroup, S
from services.gateway.core.telling import Telling, tellings
from shared.core.group_events import (
    ChannelChanged,
    ChannelCreated,
    ChannelDeleted,
    ChannelsMoved,
    GroupChanged,
    GroupDeleted,
    MemberAdded,
    MemberBanned,
    MemberChanged,
    MemberRemoved,
    RoleChanged,
    RoleCreated,
    RoleDeleted,
    RolesMoved,
)
from shared.core.model import ChannelMove, User
from shared.core.stream import Event


class Changing(Generic[S]):
    """Applies events to a followed group. `now` is seconds of a clock that never goes back."""

    def __init__(self, roster: Roster[S]) -> None:
        self._roster = roster

    def apply(self, event: Event, group: LocalGroup[S], now: float) -> list[Out[S]]:
        """Take the next event of a group's stream."""
        body, seq = event.record.body, event.record.seq
        before = self._seen_before(event, group)
        out: list[Out[S]] = []
        newcomer = None
        resighted: Collection[int] | None = ()
        match body:
            case MemberAdded(member):
                newcomer = member
                group.admit(member)
            case MemberRemoved(user) | MemberBanned(user, was_in=True):
                out += self._leave(group, user, seq, now)
            case MemberChanged(member):
                self._roster.change_member(group, member, seq)
                resighted = (member.user.id,)
            case GroupChanged(changed, was):
                group.group = changed
                resighted = None if changed.owner_id != was.owner_id else ()
            case GroupDeleted():
                out += self._roster.disband(group.group.id, seq, now)
                for channel_id in tuple(group.channels):
                    self._roster.drop_channel(channel_id, group)
            case RoleCreated(role) | RoleChanged(role):
                group.put_roles((role,))
                resighted = None
            case RolesMoved(roles):
                group.put_roles(roles)
            case RoleDeleted(role):
                group.drop_role(role.id)
                resighted = None
            case ChannelCreated(channel):
                self._roster.put_channel(channel, 0, 0, group)
                resighted = None
            case ChannelChanged(channel):
                self._roster.channels[channel.id].channel = channel
                resighted = None
            case ChannelsMoved(moves):
                self._move(moves)
            case ChannelDeleted(channel, children, changed):
                group.group = changed or group.group
                self._roster.drop_channel(channel.id, group)
                self._move(self._orphans(children))
                resighted = None
        gained, lost = group.sights.look_again(resighted) if resighted != () else ({}, {})
        for telling in tellings(event, group, self._roster.channels):
            sessions = self._audience(telling, group, before)
            if sessions:
                out.append(Dispatch(telling.t, telling.d, sessions, event.stream, seq))
        if isinstance(body, ChannelCreated | ChannelDeleted):
            gained.pop(body.channel.id, None)
            lost.pop(body.channel.id, None)
        out += self._roster.tell_sights(group, gained, lost)
        return out if newcomer is None else out + self._roster.join(group.group.id, newcomer, seq)

    @staticmethod
    def _seen_before(event: Event, group: LocalGroup[S]) -> tuple[S, ...] | None:
        """Return who sees a channel that is about to be changed or deleted."""
        match event.record.body:
            case ChannelChanged(channel) | ChannelDeleted(channel):
                return group.sights.audience(channel.id)
            case _:
                return None

    @staticmethod
    def _audience(telling: Telling, group: LocalGroup[S], before: tuple[S, ...] | None) -> Collection[S]:
        if telling.needs:
            holders = group.sights.holders(telling.needs)
            if not telling.channel_id:
                return holders
            seeing = set(group.sights.audience(telling.channel_id))
            return tuple(session for session in holders if session in seeing)
        if not telling.channel_id:
            return group.audience
        if telling.t == "CHANNEL_DELETE":
            return before or ()
        now = group.sights.audience(telling.channel_id)
        if before is None or now == before:
            return now
        seen = set(before)
        return tuple(session for session in now if session in seen)

    def _leave(self, group: LocalGroup[S], user: User, seq: int, now: float) -> list[Out[S]]:
        group.member_count -= 1
        group.members.pop(user.id, None)
        return self._roster.leave(group.group.id, user.id, seq, now, is_own=False)

    def _move(self, moves: Iterable[ChannelMove]) -> None:
        for move in moves:
            if (local := self._roster.channels.get(move.id)) is not None:
                local.channel = msgspec.structs.replace(local.channel, position=move.position, parent_id=move.parent_id)

    def _orphans(self, children: Iterable[int]) -> Iterable[ChannelMove]:
        for child in children:
            if (local := self._roster.channels.get(child)) is not None:
                yield ChannelMove(child, local.channel.position, 0)
