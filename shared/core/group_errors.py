"""What a request can be refused for because of a group: its channels, roles, members, bans and invites.

Ring 1 (core).
"""

from shared.core.errors import StarlingError


class UnknownGroup(StarlingError):
    """No such group, or none that the caller may know of."""

    code = 10004
    status = 404
    message = "Unknown Guild"


class TooManyGroups(StarlingError):
    """The user is in as many groups as one may be."""

    code = 30001
    status = 400
    message = "Maximum number of guilds reached"


class UnknownChannel(StarlingError):
    """No such channel, or none that the caller may know of."""

    code = 10003
    status = 404
    message = "Unknown Channel"


class TooManyChannels(StarlingError):
    """The group has as many channels as one may have."""

    code = 30013
    status = 400
    message = "Maximum number of server channels reached (500)"


class CannotActInDirect(StarlingError):
    """What was asked for is not possible in a direct channel."""

    code = 50003
    status = 403
    message = "Cannot execute action on a DM channel"


class UnknownOverwrite(StarlingError):
    """The channel says nothing of this role or member."""

    code = 10009
    status = 404
    message = "Unknown permission overwrite"


class UnknownRole(StarlingError):
    """No such role in this group."""

    code = 10011
    status = 404
    message = "Unknown Role"


class TooManyRoles(StarlingError):
    """The group has as many roles as one may have."""

    code = 30005
    status = 400
    message = "Maximum number of guild roles reached (250)"


class InvalidRole(StarlingError):
    """It can't be done with this role, which is everyone's."""

    code = 50028
    status = 400
    message = "Invalid role"


class UnknownMember(StarlingError):
    """No such member in this group."""

    code = 10007
    status = 404
    message = "Unknown Member"


class TooManyMembers(StarlingError):
    """The group has as many members as one may have."""

    code = 30019
    status = 400
    message = "Maximum number of server members reached"


class UnknownBan(StarlingError):
    """The user is not banned from the group."""

    code = 10026
    status = 404
    message = "Unknown Ban"


class Banned(StarlingError):
    """The user is banned from the group."""

    code = 40007
    status = 403
    message = "The user is banned from this guild"


class BansFailed(StarlingError):
    """None of the users could be banned."""

    code = 500000
    status = 400
    message = "Failed to ban users"


class UnknownInvite(StarlingError):
    """No such invite, or it is used up or over."""

    code = 10006
    status = 404
    message = "Unknown Invite"


class UnknownWebhook(StarlingError):
    """No such webhook, or none that the caller may know of."""

    code = 10015
    status = 404
    message = "Unknown Webhook"


class InvalidWebhookToken(StarlingError):
    """It is not the webhook's token."""

    code = 50027
    status = 401
    message = "Invalid Webhook Token"


class TooManyWebhooks(StarlingError):
    """The channel or the group has as many webhooks as one may have."""

    code = 30007
    status = 400
    message = "Maximum number of webhooks reached (15)"


class TooManyInvites(StarlingError):
    """The group has as many invites as it may have."""

    code = 30016
    status = 400
    message = "Maximum number of invites reached (1000)"


class InvalidRecipients(StarlingError):
    """One of these users can't be in the group DM, or is not in it."""

    code = 50033
    status = 400
    message = "Invalid Recipient(s)"


class TooManyRecipients(StarlingError):
    """The group DM has as many users as it may have."""

    code = 30004
    status = 400
    message = "Maximum number of recipients reached (10)"


class TooManyDirects(StarlingError):
    """The user is in as many group DMs as one may be."""

    status = 400
    message = "Maximum number of group DMs reached (50)"


class WrongChannelType(StarlingError):
    """What was asked for is not possible in a channel of this type."""

    code = 50024
    status = 400
    message = "Cannot execute action on this channel type"
