"""What a session that is taken over missed: the dispatches of events that were read for it.

Ring 1 (core). Which events are read says `takeover`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from services.gateway.core.handover import Missed
from services.gateway.core.intents import Scope, heard_encoded
from services.gateway.core.retracing import Retraced
from services.gateway.core.roster import Roster
from services.gateway.core.state import LocalChannel, LocalUser
from services.gateway.core.telling import entry_told, tellings
from shared.core.calls import DirectView
from shared.core.message_events import MessageCreated
from shared.core.model import ChannelType
from shared.core.stream import Event, direct_after, owner_of
from shared.core.wire.channels import direct_of
from shared.core.wire.directs import direct_change_of
from shared.core.wire.dispatches import dispatch_of
from shared.core.wire.values import Json, encode


def missed_of(event: Event, user_id: int, local: LocalChannel | None = None) -> Missed | None:
    """Return the dispatch of a user's or channel's event that was read; None if clients get none of it."""
    channel_type = local.channel.type if local is not None else ChannelType.DIRECT
    t, d = dispatch_of(event, viewer=user_id, channel_type=channel_type)
    return Missed(t, encode(d), event.stream, event.record.seq) if t is not None and d is not None else None


def missed_in(roster: Roster[Any], sights: Mapping[int, Retraced], event: Event, user_id: int) -> Iterator[Missed]:
    """Yield the dispatches of an event that was read. `sights`: what the user saw of groups whose events are read."""
    if event.stream[0] != "g":
        body, local = event.record.body, roster.channels.get(owner_of(event.stream))
        if local is not None and (shown := _shown_again(roster.users[user_id], local, event)) is not None:
            yield shown
        if isinstance(body, MessageCreated) and (channel := direct_after(event.record)) is not None:
            for t, d in direct_change_of(event, body, channel, user_id):
                yield Missed(t, encode(d), event.stream, event.record.seq)
        elif (missed := missed_of(event, user_id, local)) is not None:
            yield missed
        if not event.record.id:
            yield from _entry_missed(roster, event, user_id)
        return
    retraced = sights.get(event.group_id)
    group = roster.groups.get(event.group_id)
    if retraced is None or group is None:
        return  # the user left the group in this moment, which is told next
    for telling in tellings(event, group, roster.channels):
        seen = retraced.lost if telling.t == "CHANNEL_DELETE" else retraced.steady
        if telling.channel_id and telling.channel_id not in seen:
            continue
        if telling.needs and not group.sights.group_permissions(user_id) & telling.needs:
            continue
        yield Missed(telling.t, encode(telling.d), event.stream, event.record.seq)


def _shown_again(user: LocalUser[Any], local: LocalChannel, event: Event) -> Missed | None:
    """Return the CHANNEL_CREATE of a direct channel that its user closed just before this message."""
    upto = user.hidden.get(local.channel.id)
    if upto is None or event.record.ordinal != upto.ordinal + 1 or user.user.bot:
        return None
    return Missed(
        "CHANNEL_CREATE", encode(direct_of(DirectView(local.channel, event.record.seq - 1, upto.id), user.user.id))
    )


def _entry_missed(roster: Roster[Any], event: Event, user_id: int) -> Iterator[Missed]:
    """Yield what a change of messages says in its group's audit log, to who may view that."""
    group = roster.groups.get(event.group_id)
    if group is None or user_id not in group.users or (telling := entry_told(event, group)) is None:
        return
    if group.sights.group_permissions(user_id) & telling.needs:
        yield Missed(telling.t, encode(telling.d), event.stream, event.record.seq)


def group_told(created: Json) -> Missed:
    """Return the GUILD_CREATE of a group that is told anew."""
    return Missed("GUILD_CREATE", encode(created))


def heard_of(scope: Scope, user_id: int, missed: Iterable[Missed]) -> Iterator[Missed]:
    """Yield what was missed as far as the session asked for it."""
    for one in missed:
        if (d := heard_encoded(scope, user_id, one.t, one.d)) is not None:
            yield Missed(one.t, d, one.stream, one.seq)
