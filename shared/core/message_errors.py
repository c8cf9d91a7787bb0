"""What a request can be refused for because of a message: sending one, and all that is done to one.

Ring 1 (core).
"""

from shared.core.errors import InvalidForm, RateLimited, StarlingError


class UnknownMessage(StarlingError):
    """No such message in this channel."""

    code = 10008
    status = 404
    message = "Unknown Message"


class EmptyMessage(StarlingError):
    """A message without content."""

    code = 50006
    status = 400
    message = "Cannot send an empty message"


class NotText(StarlingError):
    """The channel takes no messages."""

    code = 50008
    status = 400
    message = "Cannot send messages in a non-text channel"


class SlowMode(RateLimited):
    """The channel's slow mode lets the user write again after `retry_after` seconds."""

    code = 20016
    message = "This action cannot be performed due to slowmode rate limit"


class UnknownReference(InvalidForm):
    """A reply to a message that is not in the channel."""

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        super().__init__({"message_reference": [("REPLIES_UNKNOWN_MESSAGE", "Unknown message")]})


class SystemReference(InvalidForm):
    """A reply to a message that the system wrote."""

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        reason = ("REPLIES_CANNOT_REPLY_TO_SYSTEM_MESSAGE", "Cannot reply to a system message")
        super().__init__({"message_reference": [reason]})


class CannotReply(StarlingError):
    """A reply where the author may not read what was written."""

    code = 160002
    status = 403
    message = "Cannot reply without permission to read message history"


class CannotEditOthers(StarlingError):
    """Only its author can edit a message."""

    code = 50005
    status = 403
    message = "Cannot edit a message authored by another user"


class CannotActOnSystemMessage(StarlingError):
    """What was asked for is not possible with a message that the system wrote."""

    code = 50021
    status = 403
    message = "Cannot execute action on a system message"


class WrongCountToDelete(StarlingError):
    """Too few or too many messages to delete at once."""

    code = 50016
    status = 400
    message = "Provided too few or too many messages to delete. Must provide at least 2 and at most 100 messages"


class TooOldToDelete(StarlingError):
    """Messages that are older than two weeks can be deleted one by one only."""

    code = 50034
    status = 400
    message = "A message provided was too old to bulk delete"


class TooManyPins(StarlingError):
    """The channel has as many pinned messages as one may have."""

    code = 30003
    status = 400
    message = "Maximum number of pins reached for the channel (50)"


class UnknownEmoji(StarlingError):
    """No emoji, or a group's own: there are none."""

    code = 10014
    status = 404
    message = "Unknown Emoji"


class TooManyReactions(StarlingError):
    """The message has as many different reactions as one may have."""

    code = 30010
    status = 400
    message = "Maximum number of reactions reached (20)"


class CommandExpired(StarlingError):
    """A send that reached its sequencer after its expiry; nothing was stored and nothing will be."""

    status = 503
    retryable = True
    message = "The message expired before it could be stored, try again"


class ChannelClosed(StarlingError):
    """Old messages are being imported into the channel; until that is done nothing can be sent there."""

    status = 503
    retryable = True
    message = "The channel is closed while old messages are imported, try again later"
