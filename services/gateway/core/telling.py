"""What a group's event is told as: names and payloads, and who may hear each.

Ring 1 (core). An event is mostly one dispatch; a ban is two, and where several roles or channels moved there is one for
each, all with the event's seq. Made from what the node holds after the event. Used where events come (`hub`) and where
they are read for a session that moved (`takeover`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from services.gateway.core.state import LocalChannel, LocalGroup
from shared.core.audit import entry_of
from shared.core.group_events import (
    BanLifted,
    ChannelChanged,
    ChannelCreated,
    ChannelDeleted,
    ChannelsMoved,
    GroupChanged,
    InviteCreated,
    InviteDeleted,
    MemberBanned,
    MemberChanged,
    RolesMoved,
    WebhookChanged,
    WebhookCreated,
    WebhookDeleted,
)
from shared.core.model import Channel
from shared.core.permissions import Permission
from shared.core.roles import known_only, known_overwrites
from shared.core.stream import Event
from shared.core.wire.audit import entry_dispatch_of
from shared.core.wire.channels import channel_of
from shared.core.wire.dispatches import dispatch_of
from shared.core.wire.groups import guild_of
from shared.core.wire.members import ban_dispatch_of, member_of, member_removed_of, role_dispatch_of
from shared.core.wire.values import Json
from shared.core.wire.webhooks import webhooks_update_of


class Telling(NamedTuple):
    """A dispatch, to all in the group; or to those who see a channel, have a permission in the group, or both."""

    t: str
    d: Json
    channel_id: int = 0
    needs: Permission = Permission(0)


def tellings(event: Event, group: LocalGroup[Any], channels: Mapping[int, LocalChannel]) -> Iterator[Telling]:
    """Yield what an event of a group's stream is told as; behind that, to whom it concerns, who did it."""
    yield from _facts(event, group, channels)
    if (telling := entry_told(event, group)) is not None:
        yield telling


def entry_told(event: Event, group: LocalGroup[Any]) -> Telling | None:
    """Return what an event of a group, or of one of its channels, says in the audit log; None if nothing."""
    entry = entry_of(event.stream, event.group_id, event.record, group.roles)
    if entry is None:
        return None
    told = entry_dispatch_of(entry) | {"seq": event.record.seq}
    return Telling("GUILD_AUDIT_LOG_ENTRY_CREATE", told, needs=Permission.VIEW_AUDIT_LOG)


def _facts(event: Event, group: LocalGroup[Any], channels: Mapping[int, LocalChannel]) -> Iterator[Telling]:
    seq, group_id = event.record.seq, event.group_id
    match event.record.body:
        case MemberBanned(user, was_in):
            banned = ban_dispatch_of(group_id, user, seq)
            yield Telling("GUILD_BAN_ADD", banned, needs=Permission.BAN_MEMBERS)
            if was_in:
                yield Telling("GUILD_MEMBER_REMOVE", member_removed_of(group_id, user, seq))
        case BanLifted(user):
            lifted = ban_dispatch_of(group_id, user, seq)
            yield Telling("GUILD_BAN_REMOVE", lifted, needs=Permission.BAN_MEMBERS)
        case InviteCreated() | InviteDeleted() as change:
            t, d = dispatch_of(event)
            place = change.invite.channel_id if isinstance(change, InviteCreated) else change.channel_id
            if t is not None and d is not None:
                yield Telling(t, d, place, Permission.MANAGE_CHANNELS)
        case WebhookCreated(webhook) | WebhookDeleted(webhook):
            yield Telling("WEBHOOKS_UPDATE", webhooks_update_of(webhook.channel_id, group_id, seq), webhook.channel_id)
        case WebhookChanged(webhook, before):
            for channel_id in dict.fromkeys((before.channel_id, webhook.channel_id)):
                yield Telling("WEBHOOKS_UPDATE", webhooks_update_of(channel_id, group_id, seq), channel_id)
        case RolesMoved(roles):
            for role in roles:
                yield Telling("GUILD_ROLE_UPDATE", role_dispatch_of(role, seq))
        case ChannelCreated(channel):
            yield Telling("CHANNEL_CREATE", channel_of(channel) | {"seq": seq}, channel.id)
        case ChannelChanged(channel):
            yield from _updates((channel.id,), seq, group, channels)
        case ChannelsMoved(moves):
            yield from _updates((move.id for move in moves), seq, group, channels)
        case ChannelDeleted(channel, children, changed):
            yield Telling("CHANNEL_DELETE", channel_of(channel) | {"seq": seq}, channel.id)
            yield from _updates(children, seq, group, channels)
            if changed is not None:
                yield Telling("GUILD_UPDATE", guild_of(group.group, group.roles.values()) | {"seq": seq})
        case GroupChanged():
            yield Telling("GUILD_UPDATE", guild_of(group.group, group.roles.values()) | {"seq": seq})
        case MemberChanged(member):
            told = member_of(known_only(member, group.roles))
            yield Telling("GUILD_MEMBER_UPDATE", told | {"guild_id": str(group_id), "seq": seq})
        case _:
            t, d = dispatch_of(event)
            if t is not None and d is not None:
                yield Telling(t, d)


def channel_told(local: LocalChannel, group: LocalGroup[Any]) -> Json:
    """Return a group's channel with its head, as this node holds it."""
    return channel_of(known(local.channel, group), local.seq, local.last_message_id)


def known(channel: Channel, group: LocalGroup[Any]) -> Channel:
    """Return a channel without what it says of roles that are gone."""
    return known_overwrites(channel, group.roles)


def _updates(
    channel_ids: Any, seq: int, group: LocalGroup[Any], channels: Mapping[int, LocalChannel]
) -> Iterator[Telling]:
    for channel_id in channel_ids:
        if (local := channels.get(channel_id)) is not None:
            yield Telling("CHANNEL_UPDATE", channel_told(local, group) | {"seq": seq}, channel_id)
