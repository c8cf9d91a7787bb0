"""`make account`: show an account, block it, unblock it, or delete it. For operators.

Ring 5 (composition): `python -m services.groups.moderate show|block|unblock|delete NAME_OR_ID`, with the settings of
the services in the environment; of them it needs only the database. What it stores is carried out by the services that
run, within about a second: they void the tokens, and live sessions end.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from secrets import randbits

from services.groups.core.applications import MAX_APPLICATIONS
from services.groups.core.names import username_key
from services.groups.jobs import LEAVE, STOP, UNSURE_MS
from services.groups.mongo_store import MongoGroups
from services.groups.store import GroupStore, Job, Profile, State
from shared.clock import now_ms
from shared.logs import configure_logs
from shared.mongo import SchemaTooNew, open_database
from shared.settings import Settings
from shared.streams import StoreUnavailable


class Refused(Exception):
    """It can't be done; the text says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one of them; 0, or 1 with what was in the way."""
    parser = argparse.ArgumentParser(prog="python -m services.groups.moderate", description="Accounts, for operators.")
    parser.add_argument("action", choices=("show", "block", "unblock", "delete"))
    parser.add_argument("account", metavar="NAME_OR_ID")
    chosen = parser.parse_args(arguments)
    settings = Settings()
    configure_logs("console", "error", node="moderate")
    try:
        print(asyncio.run(_run(settings, chosen.action, chosen.account)))
    except (Refused, StoreUnavailable, SchemaTooNew) as failure:
        print(f"account: {failure}", file=sys.stderr)
        return 1
    return 0


async def _run(settings: Settings, action: str, account: str) -> str:
    async with open_database(settings.mongo) as mongo:
        return await moderate(MongoGroups(mongo), action, account, now_ms())


async def moderate(groups: GroupStore, action: str, account: str, now: int) -> str:
    """Do what is asked to the account of this name or id; return what to tell. Raises `Refused`, `StoreUnavailable`."""
    profile = await _find(groups, account)
    user_id = profile.user.id
    bots = await groups.list_bots(user_id, MAX_APPLICATIONS * 2)
    match action:
        case "block":
            await _change(groups, [user_id, *(bot.user.id for bot in bots)], "blocked", STOP, now)
        case "unblock":
            for one in (user_id, *(bot.user.id for bot in bots)):
                await groups.set_state(one, "active", unless=("deleted",))
        case "delete":
            joined = (await groups.list_memberships((user_id,), 1000)).get(user_id, [])
            owned = await groups.read_groups(joined) if joined else {}
            if names := [group.name for group in owned.values() if group.owner_id == user_id]:
                raise Refused(f"{profile.user.username} owns groups: {', '.join(names)}")
            await _change(groups, [user_id], "deleted", LEAVE, now)
    return await _tell(groups, user_id)


async def _find(groups: GroupStore, account: str) -> Profile:
    if account.isascii() and account.isdigit() and 0 < int(account) < 1 << 63:
        profile = await groups.read_profile(int(account))
        if profile is not None:
            return profile
    key = username_key(account)
    claim = await groups.read_claim(key)
    profile = await groups.read_profile(claim.owner) if claim is not None else None
    if profile is None or profile.gone or username_key(profile.user.username) != key:
        raise Refused(f"there is no account {account}")
    return profile


async def _change(groups: GroupStore, user_ids: Sequence[int], state: State, kind: str, now: int) -> None:
    """Give accounts another state. The job is stored before and after: wherever this dies, all is done or nothing."""
    for user_id in user_ids:
        await groups.put_job(Job(f"{kind}:{user_id}", now + UNSURE_MS, randbits(62)))
        if await groups.set_state(user_id, state, unless=("deleted",)) is None and state != "deleted":
            raise Refused("the account is deleted")
        await groups.put_job(Job(f"{kind}:{user_id}", now, randbits(62)))


async def _tell(groups: GroupStore, user_id: int) -> str:
    account, profile = await groups.read_account(user_id), await groups.read_profile(user_id)
    if account is None or profile is None:
        raise Refused("there is no such account")
    kind = f"bot of {profile.owner}" if profile.owner else "bot" if profile.user.bot else "person"
    return f"{user_id}  {profile.user.username}  {kind}  {account.state}"


if __name__ == "__main__":
    sys.exit(main())
