"""The one catalogue of errors: what a peer is told, on every way out.

Ring 1 (core). The same `code` stands in a REST body, an RPC reply, a SEND_REJECT frame and a metric
label. Numbers are Discord's JSON error codes (developer documentation, "JSON Error Codes") where it
has one; `shared.http` turns an error into a response. Only these cross a service's border.
"""

from typing import ClassVar


class StarlingError(Exception):
    """A refusal with a meaning for the peer.

    `code` is Discord's JSON code, `status` the HTTP status, `retryable` says that the same request may
    succeed later (op 102 then carries `retry_after`).
    """

    code: ClassVar[int] = 0
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    message: ClassVar[str] = "Internal server error"

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        self.text = message or self.message
        self.retry_after = retry_after
        super().__init__(self.text)


class InternalError(StarlingError):
    """Something of ours broke; logged with its cause, told without."""


class Unavailable(StarlingError):
    """A part that is needed did not answer in time; the outcome of a send is unknown until it expires."""

    status = 503
    retryable = True
    message = "Service temporarily unavailable, try again"


class Unauthorized(StarlingError):
    """No valid token."""

    status = 401
    message = "401: Unauthorized"


class NotFound(StarlingError):
    """No such route."""

    status = 404
    message = "404: Not Found"


class MethodNotAllowed(StarlingError):
    """The route exists, not with this method."""

    status = 405
    message = "405: Method Not Allowed"


class BodyTooLarge(StarlingError):
    """The request's body is over the limit."""

    code = 40005
    status = 413
    message = "Request entity too large"


class UnknownChannel(StarlingError):
    """No such channel, or none that the caller may know of."""

    code = 10003
    status = 404
    message = "Unknown Channel"


class UnknownGroup(StarlingError):
    """No such group, or none that the caller may know of."""

    code = 10004
    status = 404
    message = "Unknown Guild"


class UnknownMember(StarlingError):
    """No such member in this group."""

    code = 10007
    status = 404
    message = "Unknown Member"


class UnknownMessage(StarlingError):
    """No such message in this channel."""

    code = 10008
    status = 404
    message = "Unknown Message"


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


class TooManyPins(StarlingError):
    """The channel has as many pinned messages as one may have."""

    code = 30003
    status = 400
    message = "Maximum number of pins reached for the channel (50)"


class CannotActOnSystemMessage(StarlingError):
    """What was asked for is not possible with a message that the system wrote."""

    code = 50021
    status = 403
    message = "Cannot execute action on a system message"


class UnknownUser(StarlingError):
    """No such user."""

    code = 10013
    status = 404
    message = "Unknown User"


class UnknownApplication(StarlingError):
    """No such application of the caller's."""

    code = 10002
    status = 404
    message = "Unknown Application"


class NotForBots(StarlingError):
    """People only."""

    code = 20001
    status = 403
    message = "Bots cannot use this endpoint"


class OnlyForBots(StarlingError):
    """Bots only."""

    code = 20002
    status = 403
    message = "Only bots can use this endpoint"


class AccountBlocked(StarlingError):
    """The account was blocked by an operator; told only to who knows its password."""

    code = 20013
    status = 403
    message = "This account is disabled"


class NotVerified(StarlingError):
    """The account has no proved e-mail address, and this server wants one for that."""

    code = 40002
    status = 403
    message = "You need to verify your account in order to perform this action"


class OwnsGroups(StarlingError):
    """The account owns groups: they are handed over or deleted first."""

    code = 40011
    status = 400
    message = "You must transfer ownership of any owned guilds before deleting your account"


class TooManyApplications(StarlingError):
    """The user owns as many applications as one may."""

    status = 400
    message = "Maximum number of applications reached"


class UnknownRole(StarlingError):
    """No such role in this group."""

    code = 10011
    status = 404
    message = "Unknown Role"


class UnknownOverwrite(StarlingError):
    """The channel says nothing of this role or member."""

    code = 10009
    status = 404
    message = "Unknown permission overwrite"


class UnknownInvite(StarlingError):
    """No such invite, or it is used up or over."""

    code = 10006
    status = 404
    message = "Unknown Invite"


class TooManyInvites(StarlingError):
    """The group has as many invites as it may have."""

    code = 30016
    status = 400
    message = "Maximum number of invites reached (1000)"


class UnknownBan(StarlingError):
    """The user is not banned from the group."""

    code = 10026
    status = 404
    message = "Unknown Ban"


class TooManyRoles(StarlingError):
    """The group has as many roles as one may have."""

    code = 30005
    status = 400
    message = "Maximum number of guild roles reached (250)"


class Banned(StarlingError):
    """The user is banned from the group."""

    code = 40007
    status = 403
    message = "The user is banned from this guild"


class InvalidRole(StarlingError):
    """It can't be done with this role, which is everyone's."""

    code = 50028
    status = 400
    message = "Invalid role"


class TooManyBlocked(StarlingError):
    """The user blocks as many others as one may."""

    code = 30002
    status = 400
    message = "Maximum number of blocked users reached (1000)"


class TooManyGroups(StarlingError):
    """The user is in as many groups as one may be."""

    code = 30001
    status = 400
    message = "Maximum number of guilds reached"


class TooManyChannels(StarlingError):
    """The group has as many channels as one may have."""

    code = 30013
    status = 400
    message = "Maximum number of server channels reached (500)"


class MissingAccess(StarlingError):
    """The caller may not see this."""

    code = 50001
    status = 403
    message = "Missing Access"


class MissingPermissions(StarlingError):
    """The caller sees this and may not do it."""

    code = 50013
    status = 403
    message = "You lack permissions to perform that action"


class CannotActInDirect(StarlingError):
    """What was asked for is not possible in a direct channel."""

    code = 50003
    status = 403
    message = "Cannot execute action on a DM channel"


class CannotEditOthers(StarlingError):
    """Only its author can edit a message."""

    code = 50005
    status = 403
    message = "Cannot edit a message authored by another user"


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


class CannotMessageUser(StarlingError):
    """A direct channel with this user is not possible."""

    code = 50007
    status = 403
    message = "Cannot send messages to this user"


class NotText(StarlingError):
    """The channel takes no messages."""

    code = 50008
    status = 400
    message = "Cannot send messages in a non-text channel"


class EmptyMessage(StarlingError):
    """A message without content."""

    code = 50006
    status = 400
    message = "Cannot send an empty message"


class InvalidJson(StarlingError):
    """The request's body is no JSON, or holds what no text may hold (lone surrogates, NUL)."""

    code = 50109
    status = 400
    message = "The request body contains invalid JSON."


class InvalidForm(StarlingError):
    """Fields of the request are wrong. `fields` maps a dotted path to (code, message) pairs; "" is the whole."""

    code = 50035
    status = 400
    message = "Invalid Form Body"

    def __init__(self, fields: dict[str, list[tuple[str, str]]]) -> None:
        super().__init__()
        self.fields = fields

    def tree(self) -> dict[str, object]:
        """Return Discord's `errors` object: nested by path, leaves are `{"_errors": [{code, message}]}`."""
        root: dict[str, object] = {}
        for path, reasons in self.fields.items():
            place = root
            for part in filter(None, path.split(".")):
                inner = place.setdefault(part, {})
                if not isinstance(inner, dict):
                    break
                place = inner
            place["_errors"] = [{"code": code, "message": text} for code, text in reasons]
        return root


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


class RateLimited(StarlingError):
    """Over a budget; `retry_after` seconds from now there is room."""

    status = 429
    retryable = True
    message = "You are being rate limited."


class SlowMode(RateLimited):
    """The channel's slow mode lets the user write again after `retry_after` seconds."""

    code = 20016
    message = "This action cannot be performed due to slowmode rate limit"


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


CATALOGUE: dict[str, type[StarlingError]] = {
    kind.__name__: kind
    for kind in (
        InternalError,
        Unavailable,
        Unauthorized,
        NotFound,
        MethodNotAllowed,
        BodyTooLarge,
        UnknownChannel,
        UnknownGroup,
        UnknownMember,
        UnknownMessage,
        UnknownUser,
        UnknownApplication,
        NotForBots,
        OnlyForBots,
        AccountBlocked,
        OwnsGroups,
        NotVerified,
        TooManyApplications,
        UnknownRole,
        UnknownOverwrite,
        UnknownInvite,
        TooManyInvites,
        UnknownBan,
        TooManyRoles,
        TooManyBlocked,
        TooManyGroups,
        TooManyChannels,
        Banned,
        InvalidRole,
        MissingAccess,
        MissingPermissions,
        CannotActInDirect,
        CannotEditOthers,
        WrongCountToDelete,
        TooOldToDelete,
        CannotMessageUser,
        NotText,
        EmptyMessage,
        InvalidJson,
        UnknownReference,
        SystemReference,
        TooManyPins,
        CannotActOnSystemMessage,
        UnknownEmoji,
        TooManyReactions,
        CannotReply,
        RateLimited,
        SlowMode,
        CommandExpired,
        ChannelClosed,
    )
}


def name_of(error: StarlingError) -> str:
    """Return the name by which an error travels: its class's in the catalogue, or the nearest above it."""
    return next((kind.__name__ for kind in type(error).__mro__ if kind.__name__ in CATALOGUE), InternalError.__name__)


def error_of(name: str, message: str, retry_after: float | None = None) -> StarlingError:
    """Return the catalogue's error by class name, as RPC replies and command replies carry it."""
    return CATALOGUE.get(name, InternalError)(message, retry_after=retry_after)
