"""Hiding: a direct channel that its user closed comes back with the next message.

Ring 1 (core). Whether a user has it closed is a function of two positions: up to which message the user's own stream
says so, and which message is the channel's last one. So whichever is told first, all nodes come to the same. Which
messages are told does not depend on it: only the channel comes and goes.
"""

from __future__ import annotations

from collections.abc import Mapping

from services.gateway.core.outs import Dispatch, Out
from services.gateway.core.state import LocalChannel, LocalUser, S
from shared.core.calls import DirectView
from shared.core.model import LastMessage
from shared.core.stream import Event
from shared.core.wire.channels import direct_of
from shared.core.wire.values import Json


def hide(
    user: LocalUser[S], local: LocalChannel | None, channel_id: int, upto: LastMessage, event: Event
) -> list[Out[S]]:
    """Take in that a user closed a direct channel; its sessions are told, unless something newer was said there."""
    was_shown = _shows(user, local)
    user.hidden[channel_id] = upto
    if local is None or not was_shown or _shows(user, local):
        return []
    return tell_people(user, "CHANNEL_DELETE", hidden_told(user.user.id, local, event.record.seq), event)


def show(user: LocalUser[S], local: LocalChannel | None, channel_id: int, event: Event) -> list[Out[S]]:
    """Take in that a user opened a direct channel again; its sessions are told it with its head."""
    was_shown = _shows(user, local)
    user.hidden.pop(channel_id, None)
    return [] if local is None or was_shown else tell_people(user, "CHANNEL_CREATE", _told(user, local), event)


def show_again(users: Mapping[int, LocalUser[S]], local: LocalChannel, message_id: int) -> list[Out[S]]:
    """Tell a direct channel, with the head that it has, to its users who closed it before this message."""
    out: list[Out[S]] = []
    for user_id in local.recipients:
        user = users.get(user_id)
        if user is not None and not _shows(user, local) and not user.hides(local.channel.id, message_id):
            out += tell_people(user, "CHANNEL_CREATE", _told(user, local))
    return out


def tell_people(user: LocalUser[S], t: str, d: Json, event: Event | None = None) -> list[Out[S]]:
    """Tell a user's sessions that a direct channel came or went.

    Not those of bots, whose libraries take both for a group's: they know it by its first message.
    """
    if not user.sessions or user.user.bot:
        return []
    stream, seq = (event.stream, event.record.seq) if event is not None else ("", 0)
    return [Dispatch(t, d, tuple(user.sessions), stream, seq)]


def hidden_told(user_id: int, local: LocalChannel, seq: int) -> Json:
    """Return the CHANNEL_DELETE of a direct channel that its user closed, by this event of the user's stream."""
    return direct_of(DirectView(local.channel, local.seq, local.last_message_id), user_id) | {"seq": seq}


def _shows(user: LocalUser[S], local: LocalChannel | None) -> bool:
    return local is not None and not user.hides(local.channel.id, local.last_message_id)


def _told(user: LocalUser[S], local: LocalChannel) -> Json:
    return direct_of(DirectView(local.channel, local.seq, local.last_message_id), user.user.id)
