"""What a new session is told first: READY, then a GUILD_CREATE for each group, from the node's own positions.

Ring 1 (core). Made in the same step in which the session is attached to the hub, so that the heads in it and the
events after it fit exactly: nothing between is missing, nothing comes twice (promise 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from services.gateway.core.intents import WHOLE, Intent, Scope
from services.gateway.core.state import LocalChannel, LocalGroup, LocalUser
from services.gateway.core.telling import known
from shared.core.calls import ChannelView, DirectView, GroupView, Marker
from shared.core.model import Member, Presence
from shared.core.roles import known_only
from shared.core.wire.dispatches import ready_of
from shared.core.wire.groups import guild_create_of
from shared.core.wire.members import encode_members
from shared.core.wire.values import Json


def nobody_shown(_: LocalGroup[Any]) -> Mapping[int, Presence]:
    """Return no presences: where they are not asked for, or are told behind."""
    return {}


def guild_create(
    channels: Mapping[int, LocalChannel],
    group: LocalGroup[Any],
    own: Member,
    presences: Mapping[int, Presence] | None = None,
) -> Json:
    """Return the GUILD_CREATE of a group for one of its members: what it sees, and all members, itself among them.

    Of a large group, whose members the node does not know all, it has the one member alone: who needs others asks.
    """
    views = [channels[channel_id] for channel_id in group.sights.of(own.user.id)]
    views.sort(key=lambda one: (one.channel.position, one.channel.id))
    if own.user.id in group.members and group.member_count <= len(group.members):
        members, encoded = tuple(group.members.values()), group.encoded_members()
    else:
        members, encoded = (own,), encode_members((known_only(own, group.roles),))
    heads = tuple(ChannelView(known(one.channel, group), one.seq, one.last_message_id) for one in views)
    view = GroupView(group.group, group.seq, heads, members, group.member_count, tuple(group.roles.values()))
    return guild_create_of(view, own.joined_at, encoded, presences or {})


def first_dispatches(
    user: LocalUser[Any],
    groups: Mapping[int, LocalGroup[Any]],
    channels: Mapping[int, LocalChannel],
    direct_ids: Iterable[int],
    *,
    session_id: str,
    resume_url: str,
    shard: tuple[int, int] | None,
    scope: Scope = WHOLE,
    markers: Iterable[Marker] | None = None,
    presences: Callable[[LocalGroup[Any]], Mapping[int, Presence]] = nobody_shown,
) -> Iterator[tuple[str, Json]]:
    """Yield (t, d) of READY and of each GUILD_CREATE of a followed user's session, as far as it asked for them."""
    own = [group_id for group_id in user.groups if scope.takes_group(group_id)]
    directs = [channels[channel_id] for channel_id in direct_ids] if scope.takes_directs() else []
    directs = [one for one in directs if not user.hides(one.channel.id, one.last_message_id)]
    directs.sort(key=lambda one: one.last_message_id or one.channel.id, reverse=True)
    ready = ready_of(
        user.user,
        session_id=session_id,
        resume_url=resume_url,
        group_ids=own,
        directs=[DirectView(one.channel, one.seq, one.last_message_id) for one in directs],
        shard=shard,
        markers=markers,
    )
    yield "READY", ready
    shown = presences if scope.intents & Intent.GUILD_PRESENCES else nobody_shown
    for group_id in own if scope.intents & Intent.GUILDS else ():
        group = groups[group_id]
        yield "GUILD_CREATE", guild_create(channels, group, user.groups[group_id].member, shown(group))
