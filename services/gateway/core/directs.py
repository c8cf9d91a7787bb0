"""Direct channels on this node, of two users or of a group DM: who is in them, and what their users are told.

Ring 1 (core). A part of `roster`. A direct channel is followed while a user in it is, and it is a unit of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Generic

import msgspec

from services.gateway.core.hiding import tell_people
from services.gateway.core.outs import Dispatch, Out, Repair
from services.gateway.core.state import Held, LocalChannel, LocalUser, S, Tracking
from shared.core.calls import DirectView
from shared.core.message_events import MessageCreated
from shared.core.model import Channel, ChannelType, User
from shared.core.stream import Event, channel_stream, direct_after, user_stream
from shared.core.wire.channels import direct_of
from shared.core.wire.directs import direct_change_of, direct_deleted_of

WHOLE_DIRECT: Final = 50
"""A direct channel that turns up late is told whole if it has at most so many events."""

OPENED: Final = 1
"""The seq of a direct channel's creation, the first event of its stream."""


class Directs(Generic[S]):
    """The direct channels of local users. `users` and `channels` are the roster's, `held` is the hub's."""

    def __init__(
        self, users: Mapping[int, LocalUser[S]], channels: dict[int, LocalChannel], held: Held, tracking: Tracking
    ) -> None:
        self._users = users
        self._channels = channels
        self._held = held
        self._tracking = tracking
        self.followed: dict[int, set[int]] = {}
        """Direct channels followed, by each user in them, local or not."""

    def of(self, user_id: int) -> Collection[int]:
        """Return the followed direct channels that a user is in."""
        return self.followed.get(user_id, ())

    def sessions_of(self, channel: LocalChannel) -> tuple[S, ...]:
        """Return the sessions of the users in a direct channel."""
        return tuple(
            session
            for user_id in dict.fromkeys(channel.recipients)
            if (user := self._users.get(user_id)) is not None
            for session in user.sessions
        )

    def put(self, view: DirectView) -> list[Out[S]]:
        """Follow a direct channel that turned up in a body or by an event that is not its first.

        Nothing changes if it is known, or if none of its users is followed (any more).

        Sessions that were there before are told of it: of a short one everything, of a long one, or a group DM, which
        may be older than that its user is in it, from its head on.
        """
        if view.channel.id in self._channels or not any(user.id in self._users for user in view.channel.recipients):
            return []
        is_whole = view.last_seq <= WHOLE_DIRECT and self._has_sessions(view.channel)
        is_whole = is_whole and view.channel.type is ChannelType.DIRECT
        seq, last_id = (OPENED, 0) if is_whole else (view.last_seq, view.last_message_id)
        out = self.open(DirectView(view.channel, seq, last_id))
        if seq >= view.last_seq:
            return out
        unit = channel_stream(view.channel.id)
        self._held.begin(unit)
        return [*out, Repair(unit)]

    def _has_sessions(self, channel: Channel) -> bool:
        return any((local := self._users.get(user.id)) is not None and local.sessions for user in channel.recipients)

    def open(self, view: DirectView) -> list[Out[S]]:
        """Follow a direct channel that is not known yet, and tell its users' sessions, but those who closed it."""
        self._channels[view.channel.id] = LocalChannel(view.channel, view.last_seq, view.last_message_id)
        self._tracking.begin(channel_stream(view.channel.id), view.last_seq)
        self._note(view.channel)
        out: list[Out[S]] = []
        for user_id in dict.fromkeys(user.id for user in view.channel.recipients):
            user = self._users.get(user_id)
            if user is not None and not user.hides(view.channel.id, view.last_message_id):
                opened = {"seq": OPENED} if view.last_seq == OPENED else {}
                out += tell_people(user, "CHANNEL_CREATE", direct_of(view, user_id) | opened)
        return out

    def close(self, channel_id: int, *, closed: bool) -> None:
        """Take in whether anybody may write in a direct channel."""
        if (local := self._channels.get(channel_id)) is not None:
            local.channel = msgspec.structs.replace(local.channel, closed=closed)

    def rename(self, changed: User) -> None:
        """Show a user in direct channels as it is called now."""
        for channel_id in self.of(changed.id):
            local = self._channels[channel_id]
            recipients = tuple(changed if one.id == changed.id else one for one in local.channel.recipients)
            local.channel = msgspec.structs.replace(local.channel, recipients=recipients)

    def forget(self, user_id: int) -> None:
        """Take in that a user is followed no more: nor are direct channels that no other followed user is in."""
        for channel_id in tuple(self.of(user_id)):
            self._forget_unless_followed(self._channels[channel_id])

    # Group DMs.

    def change(self, local: LocalChannel, event: Event, message: MessageCreated) -> list[Out[S]]:
        """Take in an event of a group DM that has changed it; who is in it now is told, whoever came or went, too.

        Whom it lets out is told by the user's own stream. What this node holds may be of a later event already.
        """
        channel = direct_after(event.record)
        if channel is None:
            return []
        if channel.as_of > local.channel.as_of:
            self._replace(local, channel)
        out: list[Out[S]] = []
        for user_id in local.recipients:
            if (user := self._users.get(user_id)) is not None and user.sessions:
                for t, d in direct_change_of(event, message, channel, user_id):
                    out.append(Dispatch(t, d, tuple(user.sessions), event.stream, event.record.seq))
        self._forget_unless_followed(local)
        return out

    def join(self, user: LocalUser[S], channel: Channel) -> list[Out[S]]:
        """Take in that a user is in a group DM, which its own stream mostly says first."""
        local = self._channels.get(channel.id)
        is_known = local is not None and (local.channel.has(user.user.id) or local.channel.as_of > channel.as_of)
        if is_known or channel_stream(channel.id) in self._held:
            return []
        unit = user_stream(user.user.id)
        return [Repair(unit)] if self._held.begin(unit) else []

    def leave(self, user: LocalUser[S], channel: Channel, event: Event) -> list[Out[S]]:
        """Tell a user's sessions that it is out of a group DM, unless it came back since."""
        local = self._channels.get(channel.id)
        if local is not None and local.channel.has(user.user.id):
            if local.channel.as_of > channel.as_of:
                return []
            left = tuple(one for one in local.channel.recipients if one.id != user.user.id)
            self._replace(local, msgspec.structs.replace(local.channel, recipients=left))
            self._forget_unless_followed(local)
        if not user.sessions:
            return []
        told = direct_deleted_of(channel, event.record.seq)
        return [Dispatch("CHANNEL_DELETE", told, tuple(user.sessions), event.stream, event.record.seq)]

    # Who is in which.

    def _replace(self, local: LocalChannel, channel: Channel) -> None:
        self._strike(local)
        local.channel = channel
        self._note(channel)

    def _forget_unless_followed(self, local: LocalChannel) -> None:
        if any(user_id in self._users for user_id in local.recipients):
            return
        stream = channel_stream(local.channel.id)
        del self._channels[local.channel.id]
        self._tracking.end(stream)
        self._held.end(stream)
        self._strike(local)

    def _note(self, channel: Channel) -> None:
        for user in channel.recipients:
            self.followed.setdefault(user.id, set()).add(channel.id)

    def _strike(self, local: LocalChannel) -> None:
        for user_id in local.recipients:
            if (followed := self.followed.get(user_id)) is not None:
                followed.discard(local.channel.id)
                if not followed:
                    del self.followed[user_id]
