"""Durable events: what streams hold, as stored and as published.

Ring 1 (core). A body is a fact in the past tense; `stream` gives it its seq. Each stands with the others of its stream:
a channel's in `message_events`, a group's in `group_events`, a user's in `user_events`. Stored documents and envelopes
share these bodies, so they carry a version there (`BUCKET_VERSION`, `Envelope.v`); a field may be added with a default,
never changed in meaning.
"""

from shared.core.group_events import GroupEvent
from shared.core.message_events import MessageEvent
from shared.core.user_events import UserEvent

AnyBody = MessageEvent | GroupEvent | UserEvent
"""Every body that a stream may hold."""
