"""Applications: the bots of users. An application has its bot's id, its name and its bio as description.

Ring 4 (shell). The bot's stream says whose it is, so there is nothing that could be half made. The limit is
read before the decision: two calls at once may pass it by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from services.groups.accounts import Accounts
from services.groups.core.applications import MAX_APPLICATIONS, require_application_room
from services.groups.core.decisions import MAX_GROUPS
from services.groups.core.profiles import ProfileChange
from services.groups.leaving import Leaving
from services.groups.profiles import Profiles
from services.groups.store import GroupStore, Profile
from shared.core.account_errors import NotForBots, OnlyForBots, UnknownApplication
from shared.core.model import User


class Application(NamedTuple):
    """An application's bot, whose it is, and where."""

    bot: Profile
    owner: User
    groups: int
    """How many groups the bot is in."""


class Applications:
    """Makes, shows and ends applications. All raise `StoreUnavailable` and `Unavailable` beside what they tell."""

    def __init__(self, groups: GroupStore, accounts: Accounts, profiles: Profiles, leaving: Leaving) -> None:
        self._groups = groups
        self._accounts = accounts
        self._profiles = profiles
        self._leaving = leaving

    async def create(self, user_id: int, name: str, description: str) -> tuple[Application, str]:
        """Make an application with its bot; return it with the bot's token.

        Raises `InvalidForm`, `TooManyApplications`, `NotForBots`.
        """
        owner = await self._require_person(user_id)
        require_application_room(len(await self._groups.list_bots(user_id, MAX_APPLICATIONS)))
        token, bot = await self._accounts.create_bot(user_id, name)
        if description:
            profile = await self._profiles.change(bot.id, ProfileChange(bio=description))
        else:
            profile = Profile(bot, owner=user_id)
        return Application(profile, owner, 0), token

    async def list_own(self, user_id: int) -> list[Application]:
        """Return the caller's applications by id. Raises `NotForBots`."""
        owner = await self._require_person(user_id)
        return await self._all_of(await self._groups.list_bots(user_id, MAX_APPLICATIONS * 2), owner)

    async def find_own(self, user_id: int, application_id: int) -> Application:
        """Return one of the caller's applications. Raises `UnknownApplication` for all others, `NotForBots`."""
        owner = await self._require_person(user_id)
        bot = await self._groups.read_profile(application_id)
        if bot is None or bot.gone or bot.owner != user_id:
            raise UnknownApplication
        return (await self._all_of((bot,), owner))[0]

    async def read_of_bot(self, bot_id: int) -> Application:
        """Return the application of the bot that asks. Raises `OnlyForBots`."""
        bot = await self._profiles.read_own(bot_id)
        if not bot.owner:
            raise OnlyForBots
        return (await self._all_of((bot,), (await self._profiles.read(bot.owner)).user))[0]

    async def reset_token(self, user_id: int, application_id: int) -> str:
        """Revoke the bot's tokens, end its sessions, return its new token.

        Raises `UnknownApplication`, `NotForBots`, `AccountBlocked`.
        """
        application = await self.find_own(user_id, application_id)
        return await self._accounts.renew_token(application.bot.user.id)

    async def delete(self, user_id: int, application_id: int) -> None:
        """Delete an application and its bot's account. Raises `UnknownApplication`, `NotForBots`."""
        application = await self.find_own(user_id, application_id)
        await self._leaving.delete(application.bot.user.id)

    async def _all_of(self, bots: Sequence[Profile], owner: User) -> list[Application]:
        joined = await self._groups.list_memberships([bot.user.id for bot in bots], MAX_GROUPS) if bots else {}
        return [Application(bot, owner, len(joined.get(bot.user.id, ()))) for bot in bots]

    async def _require_person(self, user_id: int) -> User:
        profile = await self._profiles.read_own(user_id)
        if profile.user.bot:
            raise NotForBots
        return profile.user
