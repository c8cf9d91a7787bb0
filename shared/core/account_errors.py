"""What a request can be refused for because of an account: the caller's, another user's, an application.

Ring 1 (core).
"""

from shared.core.errors import StarlingError


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


class UnknownApplicationCommand(StarlingError):
    """The application has no such command there."""

    code = 10063
    status = 404
    message = "Unknown application command"


class UnknownCommandPermissions(StarlingError):
    """Nobody said who may use the command: what may be said is not kept."""

    code = 10066
    status = 404
    message = "Unknown application command permissions"


class TooManyApplicationCommands(StarlingError):
    """The application has as many commands of that type there as one may have."""

    code = 30032
    status = 400
    message = "Maximum number of application commands reached"


class TooManyApplications(StarlingError):
    """The user owns as many applications as one may."""

    status = 400
    message = "Maximum number of applications reached"


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


class TooManyBlocked(StarlingError):
    """The user blocks as many others as one may."""

    code = 30002
    status = 400
    message = "Maximum number of blocked users reached (1000)"


class CannotMessageUser(StarlingError):
    """A direct channel with this user is not possible."""

    code = 50007
    status = 403
    message = "Cannot send messages to this user"
