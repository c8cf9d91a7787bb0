"""The one catalogue of errors: by which name each travels between services.

Ring 1 (core).
"""

from shared.core.account_errors import (
    AccountBlocked,
    CannotMessageUser,
    NotForBots,
    NotVerified,
    OnlyForBots,
    OwnsGroups,
    TooManyApplicationCommands,
    TooManyApplications,
    TooManyBlocked,
    UnknownApplication,
    UnknownApplicationCommand,
    UnknownCommandPermissions,
    UnknownUser,
)
from shared.core.errors import (
    BodyTooLarge,
    InternalError,
    InvalidJson,
    MethodNotAllowed,
    MissingAccess,
    MissingPermissions,
    NotFound,
    RateLimited,
    StarlingError,
    Unauthorized,
    Unavailable,
)
from shared.core.group_errors import (
    Banned,
    CannotActInDirect,
    InvalidRole,
    InvalidWebhookToken,
    TooManyChannels,
    TooManyGroups,
    TooManyInvites,
    TooManyRoles,
    TooManyWebhooks,
    UnknownBan,
    UnknownChannel,
    UnknownGroup,
    UnknownInvite,
    UnknownMember,
    UnknownOverwrite,
    UnknownRole,
    UnknownWebhook,
)
from shared.core.message_errors import (
    CannotActOnSystemMessage,
    CannotEditOthers,
    CannotReply,
    ChannelClosed,
    CommandExpired,
    EmptyMessage,
    NotText,
    SlowMode,
    SystemReference,
    TooManyPins,
    TooManyReactions,
    TooOldToDelete,
    UnknownEmoji,
    UnknownMessage,
    UnknownReference,
    WrongCountToDelete,
)

CATALOGUE: dict[str, type[StarlingError]] = {
    kind.__name__: kind
    for kind in (
        InternalError,
        Unavailable,
        Unauthorized,
        NotFound,
        MethodNotAllowed,
        BodyTooLarge,
        InvalidJson,
        RateLimited,
        MissingAccess,
        MissingPermissions,
        UnknownUser,
        UnknownApplication,
        TooManyApplications,
        UnknownApplicationCommand,
        UnknownCommandPermissions,
        TooManyApplicationCommands,
        NotForBots,
        OnlyForBots,
        AccountBlocked,
        NotVerified,
        OwnsGroups,
        TooManyBlocked,
        CannotMessageUser,
        UnknownGroup,
        TooManyGroups,
        UnknownChannel,
        TooManyChannels,
        CannotActInDirect,
        UnknownOverwrite,
        UnknownRole,
        TooManyRoles,
        InvalidRole,
        UnknownMember,
        UnknownBan,
        Banned,
        UnknownInvite,
        TooManyInvites,
        UnknownWebhook,
        InvalidWebhookToken,
        TooManyWebhooks,
        UnknownMessage,
        EmptyMessage,
        NotText,
        SlowMode,
        UnknownReference,
        SystemReference,
        CannotReply,
        CannotEditOthers,
        CannotActOnSystemMessage,
        WrongCountToDelete,
        TooOldToDelete,
        TooManyPins,
        UnknownEmoji,
        TooManyReactions,
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
