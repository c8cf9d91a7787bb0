"""The groups service, put together: accounts, changes and their sweeper, views, calls, routes.

Ring 5 (composition). `open_groups` starts everything in the process's supervisor; `router` reaches the service
as `app.state.groups`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import APIRouter

from services.groups.accounts import Accounts
from services.groups.application_command_store import ApplicationCommandStore, MemoryApplicationCommands
from services.groups.application_commands import ApplicationCommands
from services.groups.applications import Applications
from services.groups.attempts import Attempts
from services.groups.auditing import AuditLogs
from services.groups.blocks import Blocks
from services.groups.changes import Changes
from services.groups.channels import Channels
from services.groups.claims import Claims, group_bears_out, user_bears_out
from services.groups.code_store import CodeStore, MemoryCodes
from services.groups.directs import Directs
from services.groups.emails import KEPT_MS, Emails, account_bears_out
from services.groups.facts import FactReader
from services.groups.group_directs import GroupDirects
from services.groups.handlers import handlers_of
from services.groups.invites import Invites
from services.groups.jobs import (
    CLOSE,
    DISBAND,
    JOIN_DIRECT,
    LEAVE,
    LEAVE_DIRECT,
    OFFICIAL,
    PURGE,
    RENAME,
    SCRUB,
    STOP,
    Jobs,
)
from services.groups.keeping import Keeping
from services.groups.leaving import Leaving
from services.groups.mail import LogMailer, Mailer
from services.groups.members import Members
from services.groups.memberships import Memberships
from services.groups.mongo_application_commands import MongoApplicationCommands
from services.groups.mongo_codes import MongoCodes
from services.groups.mongo_store import MongoGroups
from services.groups.notices import Notices
from services.groups.outbox import Outbox
from services.groups.passwords import Passwords, open_passwords
from services.groups.profiles import Profiles
from services.groups.purging import Purging
from services.groups.rest import router as groups_router
from services.groups.rest_application_commands import router as application_commands_router
from services.groups.rest_applications import router as applications_router
from services.groups.rest_audit import router as audit_router
from services.groups.rest_channels import router as channels_router
from services.groups.rest_emails import router as emails_router
from services.groups.rest_empty import router as empty_router
from services.groups.rest_invites import router as invites_router
from services.groups.rest_members import router as members_router
from services.groups.rest_roles import router as roles_router
from services.groups.rest_users import router as users_router
from services.groups.rest_webhooks import router as webhooks_router
from services.groups.roles import Roles
from services.groups.service import Groups
from services.groups.smtp_mailer import SmtpMailer
from services.groups.snapshots import Snapshots
from services.groups.store import GroupStore
from services.groups.views import Views
from services.groups.webhooks import Webhooks
from shared.audit import AuditStore
from shared.auth import Tokens
from shared.bus import Bus
from shared.cache import Cache
from shared.command_log import CommandLog, open_command_log
from shared.core.ids import IdSource
from shared.door import Door
from shared.invalidations import hear_invalidations, tell_moved
from shared.kept_access import KeptAccess
from shared.mongo_audit import MongoAudit
from shared.parts import Parts
from shared.rpc import serve_calls
from shared.settings import LimitSettings, Settings
from shared.streams import StreamStore
from shared.topology import Topology

__all__ = ["assemble", "open_groups", "router"]

router = APIRouter(
    routes=[
        *users_router.routes,
        *emails_router.routes,
        *applications_router.routes,
        *application_commands_router.routes,
        *groups_router.routes,
        *roles_router.routes,
        *channels_router.routes,
        *members_router.routes,
        *invites_router.routes,
        *empty_router.routes,
        *webhooks_router.routes,
        *audit_router.routes,
    ]
)


def assemble(
    *,
    store: GroupStore,
    audit: AuditStore,
    streams: StreamStore,
    bus: Bus,
    topology: Topology,
    commands: CommandLog,
    passwords: Passwords,
    tokens: Tokens,
    ids: IdSource,
    cache: Cache,
    kept: KeptAccess,
    now: Callable[[], int],
    clock: Callable[[], float] = time.monotonic,
    attempts: Attempts | None = None,
    codes: CodeStore | None = None,
    application_commands: ApplicationCommandStore | None = None,
    mailer: Mailer | None = None,
    email_required: bool = False,
    official_group: int = 0,
    max_members: int = 250_000,
    public_url: str = "",
) -> Groups:
    """Return the service on these seams, with nothing running yet. Many may stand on the same stores.

    `public_url`: the front door as clients see it, http(s)://host[:port].
    """
    jobs = Jobs(store, ids, now)
    audit_logs = AuditLogs(audit, store, now)
    notices = Notices(store, commands, now)
    changes = Changes(
        streams,
        store,
        bus,
        topology,
        jobs,
        audit_logs,
        ids,
        now,
        joined=notices.joined,
        moved=kept.drop_written,
        official_group=official_group,
    )
    usernames = Claims(store, now, user_bears_out(streams, store, changes))
    names = Claims(store, now, group_bears_out(streams, store, changes))
    views = Views(store, streams, cache, kept, now)
    facts = FactReader(store, now)
    door = Door(tokens, views.read_revocations, clock)
    profiles = Profiles(store, changes, usernames)
    accounts = Accounts(store, changes, usernames, passwords, tokens, door, ids, now)
    memberships = Memberships(store, changes, names, ids, now, official_group, max_members)
    keeping = Keeping(facts, store, memberships, changes, names, jobs)
    offered = application_commands or MemoryApplicationCommands()
    blocks = Blocks(store, changes, jobs, now)
    group_directs = GroupDirects(store, blocks, commands, changes, jobs, ids, now)
    leaving = Leaving(store, accounts, memberships, group_directs, changes, usernames, offered, jobs, now)
    applications = Applications(store, accounts, profiles, leaving)
    purging = Purging(store, streams, commands, jobs, ids, now)
    jobs.do(
        {
            RENAME: profiles.tell_groups,
            LEAVE: leaving.leave,
            STOP: leaving.stop,
            CLOSE: blocks.close,
            DISBAND: keeping.disband,
            OFFICIAL: memberships.join_official,
            JOIN_DIRECT: group_directs.tell_joined,
            LEAVE_DIRECT: group_directs.tell_left,
            PURGE: purging.begin,
            SCRUB: purging.scrub,
        }
    )
    emails, outbox = _emails_of(store, codes or MemoryCodes(), accounts, mailer, tokens, now, required=email_required)
    return Groups(
        accounts=accounts,
        applications=applications,
        application_commands=ApplicationCommands(offered, applications, views, ids, now),
        leaving=leaving,
        blocks=blocks,
        profiles=profiles,
        jobs=jobs,
        audit_logs=audit_logs,
        memberships=memberships,
        keeping=keeping,
        notices=notices,
        roles=Roles(facts, changes, ids, now),
        channels=Channels(facts, changes, ids, now),
        members=Members(facts, store, memberships, changes, purging),
        invites=Invites(facts, store, memberships, changes, now),
        webhooks=Webhooks(facts, store, changes, tokens, ids, now, public_url),
        group_directs=group_directs,
        directs=Directs(store, streams, blocks, changes, commands, ids, now),
        views=views,
        snapshots=Snapshots(store, streams, changes, cache),
        changes=changes,
        door=door,
        now=now,
        attempts=attempts or Attempts(),
        emails=emails,
        outbox=outbox,
    )


def _emails_of(
    store: GroupStore,
    codes: CodeStore,
    accounts: Accounts,
    mailer: Mailer | None,
    tokens: Tokens,
    now: Callable[[], int],
    *,
    required: bool,
) -> tuple[Emails, Outbox | None]:
    outbox = Outbox(mailer, lambda: codes.forget(now() - KEPT_MS)) if mailer is not None else None
    claims = Claims(store, now, account_bears_out(store))
    secret = tokens.derive("codes by e-mail")
    return Emails(store, codes, claims, accounts, outbox, secret, now, required=required), outbox


def _mailer_of(settings: Settings) -> Mailer | None:
    if settings.email.host:
        return SmtpMailer(settings.email)
    return LogMailer() if settings.has_email else None


def _attempts_of(limits: LimitSettings, parts: Parts) -> Attempts:
    if not limits.enabled:
        return Attempts()
    addresses = parts.limiter("addresses", limits.auth_per_minute)
    accounts = parts.limiter("accounts", limits.auth_per_account_and_minute)
    return Attempts(addresses, accounts, parts.limiter("mails", limits.mails_per_minute))


@asynccontextmanager
async def open_groups(settings: Settings, parts: Parts) -> AsyncIterator[Groups]:
    """Open the service on a process's parts: it serves calls and sweeps until the supervisor stops."""
    bus, topology, storage = parts.bus, parts.topology, parts.storage
    with open_passwords() as passwords:
        name = f"{parts.node}.groups"
        kept = parts.kept_access("groups")
        async with open_command_log(bus, topology, name) as commands:
            groups = assemble(
                store=MongoGroups(storage.mongo),
                audit=MongoAudit(storage.mongo),
                streams=storage.streams,
                bus=bus,
                topology=topology,
                commands=commands,
                passwords=passwords,
                tokens=parts.tokens,
                ids=storage.ids,
                cache=parts.cache,
                kept=kept,
                now=parts.now,
                attempts=_attempts_of(settings.limits, parts),
                codes=MongoCodes(storage.mongo),
                application_commands=MongoApplicationCommands(storage.mongo),
                mailer=_mailer_of(settings),
                email_required=settings.email.required,
                official_group=settings.groups.official,
                max_members=settings.groups.max_members,
                public_url=settings.http.front_door,
            )
            parts.metrics.watch("starling_groups", "Work in hand", groups.statistics)
            handlers = handlers_of(groups.views, groups.snapshots)
            parts.supervisor.start("groups.calls", serve_calls(bus, topology, "groups", handlers, reach=storage.reach))
            parts.supervisor.start(
                "groups.invalidations",
                hear_invalidations(bus, topology, name, lambda batch: tell_moved(batch, kept.drop_told)),
            )
            parts.supervisor.start("groups.sweeper", groups.changes.run_sweeper())
            parts.supervisor.start("groups.notices", groups.notices.run())
            await groups.memberships.look_for_official()
            parts.supervisor.start("groups.jobs", groups.jobs.run_sweeper())
            parts.supervisor.start("groups.audit", groups.audit_logs.run_forgetter())
            if groups.outbox is not None:
                parts.supervisor.start("groups.outbox", groups.outbox.run())
            yield groups
