"""The hub: what each event means for those on this node.

Ring 1 (core). Every followed stream has a position. A repeat is dropped; before a hole the event's whole unit is
held back until the shell has read what is missing (`Repair`), so that no order within a stream and no removal is ever
overtaken (docs/rules.md, 8 and 9). Who is here is `roster`, bodies and positions are
`state`, what a new session is told `snapshot`; who performs what comes out is `services.gateway.following`.
"""

from __future__ import annotations

from typing import Generic

from services.gateway.core.changing import Changing
from services.gateway.core.hiding import hide, show, show_again
from services.gateway.core.outs import Dispatch, Out, Repair
from services.gateway.core.roster import Roster
from services.gateway.core.state import Held, LocalUser, S, Tracking, Untracked, unit_of
from services.gateway.core.telling import entry_told
from shared.core.calls import DirectView
from shared.core.commands import Typed
from shared.core.group_events import GroupDeleted, MemberBanned, MemberRemoved
from shared.core.message_events import ChannelOpened, MessageCreated
from shared.core.model import ChannelType
from shared.core.stream import Event, channel_stream, group_stream, owner_of, user_stream
from shared.core.user_events import (
    DirectChanged,
    DirectHidden,
    DirectJoined,
    DirectLeft,
    DirectShown,
    GroupJoined,
    GroupLeft,
    MembershipChanged,
    TokensRevoked,
    UserBlocked,
    UserChanged,
)
from shared.core.wire.dispatches import dispatch_of, hint_of


class Hub(Generic[S]):
    """Applies events to the roster. `now` is seconds of a clock that never goes back."""

    def __init__(self, tracking: Tracking | None = None) -> None:
        self._held = Held()
        self._tracking = tracking or Untracked()
        self.roster: Roster[S] = Roster(self._held, self._tracking)
        self._changing = Changing(self.roster)
        self.applied = 0
        self.repeats = 0
        self.foreign = 0
        self.holes = 0

    def apply(self, event: Event, now: float) -> list[Out[S]]:
        """Take an event of the node's queue."""
        unit = unit_of(event)
        if unit in self._held:
            self._held.keep(unit, event)
            return self._leave_early(event, now)
        return self.fill(event, now)

    def fill(self, event: Event, now: float) -> list[Out[S]]:
        """Take an event of a unit that may be held back: what a repair has read."""
        stream = event.stream
        match stream[0]:
            case "c":
                return self._fill_channel(event, now)
            case "g":
                group = self.roster.groups.get(event.group_id)
                if group is None:
                    return self._not_ours()
                if (wrong := self._out_of_turn(event, group.seq, now)) is not None:
                    return wrong
                group.seq = event.record.seq
                return self._changing.apply(event, group, now)
            case _:
                user = self.roster.users.get(owner_of(stream))
                if user is None:
                    return self._not_ours()
                if (wrong := self._out_of_turn(event, user.seq, now)) is not None:
                    return wrong
                user.seq = event.record.seq
                return self._apply_to_user(event, user, now)

    def audience_of(self, typed: Typed) -> tuple[S, ...]:
        """Return the sessions that may know of a signal; none while what its channel belongs to is held back."""
        channel = self.roster.channels.get(typed.channel_id)
        unit = group_stream(typed.group_id) if typed.group_id else channel_stream(typed.channel_id)
        return self.roster.sessions_of(channel) if channel is not None and unit not in self._held else ()

    def skip(self, stream: str, seq: int, last_message_id: int) -> None:
        """Let a channel's stream go on behind `seq`: what it holds up to there was imported, and is told to nobody."""
        channel = self.roster.channels.get(owner_of(stream))
        if channel is not None and channel.seq < seq:
            channel.seq = seq
            channel.last_message_id = max(channel.last_message_id, last_message_id)
            self._tracking.note(stream, seq)

    def _not_ours(self) -> list[Out[S]]:
        self.foreign += 1
        return []

    def _out_of_turn(self, event: Event, position: int, now: float) -> list[Out[S]] | None:
        """Return what to do about an event that is not the next of its stream; None if it is."""
        seq = event.record.seq
        if seq == position + 1:
            self.applied += 1
            self._tracking.note(event.stream, seq)
            return None
        if seq <= position:
            self.repeats += 1
            return []
        self.holes += 1
        return self._await_repair(event, now)

    def _await_repair(self, event: Event, now: float) -> list[Out[S]]:
        unit = unit_of(event)
        is_new = self._held.begin(unit)
        self._held.keep(unit, event)
        early = self._leave_early(event, now)
        return [*early, Repair(unit)] if is_new else early

    def _fill_channel(self, event: Event, now: float) -> list[Out[S]]:
        channel = self.roster.channels.get(owner_of(event.stream))
        if channel is None:
            return self._fill_unknown_channel(event, now)
        if (wrong := self._out_of_turn(event, channel.seq, now)) is not None:
            return wrong
        shown = show_again(self.roster.users, channel, event.record.id) if event.record.id else []
        channel.seq = event.record.seq
        if event.record.id:  # a message's, also if it was deleted since
            channel.last_message_id = event.record.id
        body = event.record.body
        if isinstance(body, MessageCreated) and body.channel is not None:
            return self.roster.directs.change(channel, event, body)
        sessions = self.roster.sessions_of(channel)
        t, d = dispatch_of(event, channel_type=channel.channel.type) if sessions else (None, None)
        told: list[Out[S]] = [*shown]
        if t is not None and d is not None:
            told.append(Dispatch(t, d, sessions, event.stream, event.record.seq))
            t, d = hint_of(event)
            if t is not None and d is not None:
                told.append(Dispatch(t, d, sessions))
        return told if event.record.id else [*told, *self._tell_auditors(event)]

    def _tell_auditors(self, event: Event) -> list[Out[S]]:
        """Tell what a change of messages says in its group's audit log."""
        group = self.roster.groups.get(event.group_id)
        if group is None or (telling := entry_told(event, group)) is None:
            return []
        sessions = group.sights.holders(telling.needs)
        return [Dispatch(telling.t, telling.d, sessions, event.stream, event.record.seq)] if sessions else []

    def _fill_unknown_channel(self, event: Event, now: float) -> list[Out[S]]:
        """Take an event of a channel that is not followed: of a new DM, or of one that we should know."""
        if event.group_id:
            group = self.roster.groups.get(event.group_id)
            if group is None or owner_of(event.stream) in group.gone:
                return self._not_ours()
            # Messages come after their channel's creation, so the group's stream has a hole.
            return self._await_repair(event, now)
        if not any(user_id in self.roster.users for user_id in event.to):
            for user_id in event.to:
                if (unit := user_stream(user_id)) in self._held:
                    self._held.keep(unit, event)
            return self._not_ours()
        body = event.record.body
        if isinstance(body, ChannelOpened) and _opens_direct(event):
            self.applied += 1
            return self.roster.directs.open(DirectView(body.channel, event.record.seq, 0))
        self.holes += 1
        return self._await_repair(event, now)

    def _apply_to_user(self, event: Event, user: LocalUser[S], now: float) -> list[Out[S]]:
        match event.record.body:
            case GroupJoined(group_seq=group_seq, member=member):
                return self.roster.join(member.group_id, member, group_seq, user_seq=user.seq)
            case GroupLeft(group_id=group_id, group_seq=group_seq):
                return self.roster.leave(group_id, user.user.id, group_seq, now, is_own=True)
            case MembershipChanged(group_seq=group_seq, member=member):
                return self.roster.change_own_member(user, member, group_seq)
            case TokensRevoked() as revoked:
                return self.roster.revoke(user.user.id, revoked)
            case DirectChanged(channel_id, closed):
                self.roster.directs.close(channel_id, closed=closed)
                return []
            case DirectJoined(channel):
                return self.roster.directs.join(user, channel)
            case DirectLeft(channel):
                return self.roster.directs.leave(user, channel, event)
            case DirectHidden(channel_id, upto):
                return hide(user, self.roster.channels.get(channel_id), channel_id, upto, event)
            case DirectShown(channel_id):
                return show(user, self.roster.channels.get(channel_id), channel_id, event)
            case UserChanged() | UserBlocked() as change:
                if isinstance(change, UserChanged):
                    self.roster.change_user(change.user)
                t, d = dispatch_of(event) if user.sessions else (None, None)
                told = tuple(user.sessions)
                return [] if t is None or d is None else [Dispatch(t, d, told, event.stream, event.record.seq)]
            case _:
                return []

    def _leave_early(self, event: Event, now: float) -> list[Out[S]]:
        """Act on what takes something away also while its unit is held back: nobody may see what comes after it."""
        position = self.roster.position(event.stream)
        if position is None or event.record.seq <= position:
            return []
        match event.record.body:
            case GroupLeft(group_id=group_id, group_seq=group_seq):
                return self.roster.leave(group_id, owner_of(event.stream), group_seq, now, is_own=True)
            case MemberRemoved(user) | MemberBanned(user, was_in=True):
                return self.roster.leave(event.group_id, user.id, event.record.seq, now, is_own=False)
            case GroupDeleted():
                return self.roster.disband(event.group_id, event.record.seq, now)
            case MembershipChanged(group_seq=group_seq, member=member):
                user_here = self.roster.users[owner_of(event.stream)]
                return self.roster.change_own_member(user_here, member, group_seq)
            case TokensRevoked() as revoked:
                return self.roster.revoke(owner_of(event.stream), revoked)
            case _:
                return []

    # What is held back.

    def hold(self, unit: str) -> None:
        """Hold back a unit's events until `release`: its body or what it misses is being read."""
        self._held.begin(unit)

    def is_held(self, unit: str) -> bool:
        """Whether the unit's events are held back."""
        return unit in self._held

    def held_events(self, unit: str) -> tuple[Event, ...]:
        """Return what is held back of a unit."""
        return self._held.events(unit)

    def release(self, unit: str, now: float, *, is_read: bool = False) -> list[Out[S]]:
        """Apply what was held back. If something is still missing the unit is held again, with a new `Repair`.

        `is_read`: the unit was just repaired, so a channel that is still unknown is none that we may know.
        """
        events, is_stale = self._held.end(unit)
        if is_stale:
            self._held.begin(unit)
            return [Repair(unit)]
        out: list[Out[S]] = []
        for event in events:
            if is_read and self.roster.position(event.stream) is None and not _opens_direct(event):
                self.foreign += 1
            else:
                out += self.apply(event, now)
        return out if unit in self._held or unit[0] != "u" else out + self.roster.attach_late(owner_of(unit))

    def abandon(self, unit: str) -> None:
        """Forget what was held back of a unit that is not followed after all."""
        self._held.end(unit)

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        return {
            "users": len(self.roster.users),
            "sessions": sum(len(user.sessions) for user in self.roster.users.values()),
            "groups": len(self.roster.groups),
            "channels": len(self.roster.channels),
            "units_held": len(self._held),
            "events_applied": self.applied,
            "events_repeated": self.repeats,
            "events_foreign": self.foreign,
            "events_holes": self.holes,
        }


def _opens_direct(event: Event) -> bool:
    """Whether a direct channel of two came to be. Of a group DM this may be told again when somebody has left it."""
    body = event.record.body
    return isinstance(body, ChannelOpened) and body.channel.type is ChannelType.DIRECT
