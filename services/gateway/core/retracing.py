"""Retracing: which channels of a group a member saw, at each place of the group's stream since a session stood there.

Ring 1 (core). Events tell what they change with what was so before, so today's state taken back event by event is the
state at each place. A channel that was seen all along may be replayed; of every other only today's
head is told, so that nobody is shown what was said while it was hidden. For `takeover`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.gateway.core.sights import NEVER_MUTED
from services.gateway.core.state import LocalChannel, LocalGroup
from shared.core.events import AnyBody
from shared.core.group_events import (
    ChannelChanged,
    ChannelCreated,
    ChannelDeleted,
    GroupChanged,
    MemberChanged,
    RoleChanged,
    RoleCreated,
    RoleDeleted,
)
from shared.core.model import Channel, Group, Member, Role
from shared.core.permissions import Permission, permissions_of
from shared.core.user_events import MembershipChanged


@dataclass(frozen=True, slots=True)
class Retraced:
    """Channels by how a member saw them between a place and now.

    `steady`: at every place, or at every one since they came to be. `lost`: at some place, and not at a later one.
    `now`: today.
    """

    steady: frozenset[int]
    lost: frozenset[int]
    now: frozenset[int]

    @property
    def gained(self) -> frozenset[int]:
        """Channels to be told anew."""
        return self.now - self.steady


def retrace(
    group: LocalGroup[Any],
    channels: Mapping[int, LocalChannel],
    member: Member,
    events: Sequence[AnyBody],
) -> Retraced:
    """Return what a member saw. `events`: bodies of the group's stream up to today, in order.

    Behind them stand those of the member's own stream (`MembershipChanged`) that the group's has not come to.
    """
    state = _State(group.group, dict(group.roles), {one: channels[one].channel for one in group.channels}, member)
    now = state.sees()
    lost: set[int] = set()
    hidden: set[int] = set()
    for body in reversed(events):
        if state.undo(body):
            seen = state.sees()
            lost |= seen - (now - hidden)
            hidden |= state.channels.keys() - seen
    return Retraced(now - hidden, frozenset(lost), now)


class _State:
    """What decides over sight, at one place of the group's stream."""

    def __init__(self, group: Group, roles: dict[int, Role], channels: dict[int, Channel], member: Member) -> None:
        self._group = group
        self._roles = roles
        self.channels = channels
        self._member = member

    def sees(self) -> frozenset[int]:
        """Return the channels that the member sees."""
        return frozenset(_seen(self._group, self._roles, self._member, self.channels.values()))

    def undo(self, body: AnyBody) -> bool:
        """Take an event back; False if it has nothing to do with sight."""
        match body:
            case RoleCreated(role):
                self._roles.pop(role.id, None)
            case RoleChanged(before=role) | RoleDeleted(role):
                self._roles[role.id] = role
            case GroupChanged(group, before) if group.owner_id != before.owner_id:
                self._group = before
            case ChannelCreated(channel):
                self.channels.pop(channel.id, None)
            case ChannelChanged(before=channel) | ChannelDeleted(channel):
                self.channels[channel.id] = channel
            case MemberChanged(before=before) | MembershipChanged(before=before) if (
                before is not None and before.user.id == self._member.user.id
            ):
                self._member = before
            case _:
                return False
        return True


def _seen(group: Group, roles: Mapping[int, Role], member: Member, channels: Iterable[Channel]) -> Iterable[int]:
    for channel in channels:
        if permissions_of(group, roles, member, NEVER_MUTED, channel) & Permission.VIEW_CHANNEL:
            yield channel.id
