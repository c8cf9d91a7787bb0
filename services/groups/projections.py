"""Projections of group and user streams: what the group store shows after each event.

Ring 4 (shell). Idempotent by seq, redone by anyone after a crash (rule 3 of docs/rules.md). Who gains
sight gets it last, who loses it loses it first, should a process die between two writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from services.groups.core.webhooks import MAX_WEBHOOKS
from services.groups.store import GroupStore, Membership, Tally
from shared.core.group_events import (
    BanLifted,
    ChannelChanged,
    ChannelCreated,
    ChannelDeleted,
    ChannelsMoved,
    GroupChanged,
    GroupCreated,
    GroupDeleted,
    InviteCreated,
    InviteDeleted,
    MemberAdded,
    MemberBanned,
    MemberChanged,
    MemberRemoved,
    RoleChanged,
    RoleCreated,
    RoleDeleted,
    RolesMoved,
    WebhookChanged,
    WebhookCreated,
    WebhookDeleted,
)
from shared.core.model import Ban, ChannelMove
from shared.core.revocation import NOTHING_REVOKED
from shared.core.stream import Record, owner_of
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
    UserRegistered,
)

_AT_ONCE: Final = 16


async def project(groups: GroupStore, stream: str, records: Sequence[Record]) -> None:
    """Apply these events of one stream, in order. Raises `StoreUnavailable`."""
    for record in records:
        await _project(groups, owner_of(stream), record)


async def _project(groups: GroupStore, owner: int, record: Record) -> None:
    seq = record.seq
    match record.body:
        case GroupCreated(group, channels, member):
            await groups.put_group(group, seq)
            for channel in channels:
                await groups.put_channel(channel, seq)
            await groups.put_member(member, seq)
            await groups.put_tally(group.id, Tally().after(member.user.id, seq, joined=True))
        case GroupChanged(group):
            await groups.put_group(group, seq)
        case GroupDeleted(group):
            await groups.remove_group(group.id, seq)
            await _remove_channels(groups, group.id, seq)
        case ChannelCreated(channel) | ChannelChanged(channel):
            await groups.put_channel(channel, seq)
        case ChannelsMoved(moves):
            await _move_channels(groups, moves, seq)
        case ChannelDeleted(channel, children, changed):
            if changed is not None:
                await groups.put_group(changed, seq)
            await groups.remove_channel(channel.id, seq)
            for webhook in await groups.list_webhooks(owner, MAX_WEBHOOKS, channel_id=channel.id):
                await groups.remove_webhook(webhook.id, seq)
            await _orphan(groups, children, seq)
        case RoleCreated(role) | RoleChanged(role):
            await groups.put_role(role, seq)
        case RolesMoved(roles):
            for role in roles:
                await groups.put_role(role, seq)
        case RoleDeleted(role):
            await groups.remove_role(role.id, seq)
        case MemberBanned(user, was_in, by, reason):
            if was_in:
                await groups.remove_member(owner, user.id, seq)
                await _count(groups, owner, user.id, seq, joined=False)
            await groups.put_ban(Ban(owner, user, by, reason), seq)
        case BanLifted(user):
            await groups.lift_ban(owner, user.id, seq)
        case InviteCreated(invite, over):
            await groups.put_invite(invite, seq)
            for code in over:
                await groups.remove_invite(code, seq)
        case InviteDeleted(code):
            await groups.remove_invite(code, seq)
        case WebhookCreated(webhook) | WebhookChanged(webhook):
            await groups.put_webhook(webhook, seq)
        case WebhookDeleted(webhook):
            await groups.remove_webhook(webhook.id, seq)
        case MemberAdded(member, code, uses):
            await groups.put_member(member, seq)
            await _count(groups, owner, member.user.id, seq, joined=True)
            if (used := await groups.read_invite(code) if code else None) is not None:
                await groups.put_invite(msgspec.structs.replace(used, uses=uses), seq)
        case MemberChanged(member):
            await groups.put_member(member, seq)
        case MemberRemoved(user):
            await groups.remove_member(owner, user.id, seq)
            await _count(groups, owner, user.id, seq, joined=False)
        case UserRegistered(user, bot_owner):
            await groups.put_user(user, seq, owner=bot_owner)
        case UserChanged(user, bio, bot_owner, gone):
            await groups.put_user(user, seq, bio=bio, owner=bot_owner, gone=gone)
        case UserBlocked(user, present):
            await groups.put_block(owner, user.id, seq, at=record.at, present=present)
        case DirectChanged() | DirectJoined() | DirectLeft():
            return  # told to nodes; what is so was stored before
        case DirectHidden(channel_id, upto):
            await groups.put_hidden(owner, channel_id, seq, upto=upto)
        case DirectShown(channel_id):
            await groups.put_hidden(owner, channel_id, seq, upto=None)
        case GroupJoined(group_seq, member) | MembershipChanged(group_seq, member):
            await groups.put_membership(Membership(owner, member.group_id, group_seq, present=True), seq)
        case GroupLeft(group_id, group_seq):
            await groups.put_membership(Membership(owner, group_id, group_seq, present=False), seq)
        case TokensRevoked() as event:
            # Complete to the event before: those of this stream are projected in order, or by who is further on.
            known = (await groups.read_revocations((owner,))).get(owner, NOTHING_REVOKED)
            await groups.put_revocations(owner, known.after(event), seq)
        case other:
            raise TypeError(f"{type(other).__name__} is no event of a group or user")


# What an event tells only in part is read first: complete to the event before, or made by who is further on.


async def _count(groups: GroupStore, group_id: int, user_id: int, seq: int, *, joined: bool) -> None:
    """Count who joined or left. A group without a tally is surveyed, with this event's member put or gone already."""
    known = (await groups.tally_members((group_id,)))[group_id]
    if not known.seq:
        await groups.put_tally(group_id, msgspec.structs.replace(known, seq=seq))
    elif known.seq < seq:
        await groups.put_tally(group_id, known.after(user_id, seq, joined=joined))


async def _remove_channels(groups: GroupStore, group_id: int, seq: int) -> None:
    """Close all doors of a deleted group: members, roles, invites and webhooks are reached through it or a channel."""
    channels = (await groups.list_channels((group_id,))).get(group_id, [])
    for first in range(0, len(channels), _AT_ONCE):
        some = channels[first : first + _AT_ONCE]
        await asyncio.gather(*(groups.remove_channel(channel.id, seq) for channel in some))


async def _move_channels(groups: GroupStore, moves: Sequence[ChannelMove], seq: int) -> None:
    for move in moves:
        if (channel := await groups.read_channel(move.id)) is not None:
            moved = msgspec.structs.replace(channel, position=move.position, parent_id=move.parent_id)
            await groups.put_channel(moved, seq)


async def _orphan(groups: GroupStore, children: Sequence[int], seq: int) -> None:
    for child in children:
        if (channel := await groups.read_channel(child)) is not None:
            await groups.put_channel(msgspec.structs.replace(channel, parent_id=0), seq)
