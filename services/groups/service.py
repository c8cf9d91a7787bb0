"""The groups service as its routes see it: the collaborators behind `app.state.groups`.

Ring 4 (shell). Put together by `services.groups.app`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Request

from services.groups.accounts import Accounts
from services.groups.application_commands import ApplicationCommands
from services.groups.applications import Applications
from services.groups.attempts import Attempts
from services.groups.auditing import AuditLogs
from services.groups.blocks import Blocks
from services.groups.changes import Changes
from services.groups.channels import Channels
from services.groups.directs import Directs
from services.groups.emails import Emails
from services.groups.group_directs import GroupDirects
from services.groups.invites import Invites
from services.groups.jobs import Jobs
from services.groups.keeping import Keeping
from services.groups.leaving import Leaving
from services.groups.members import Members
from services.groups.memberships import Memberships
from services.groups.notices import Notices
from services.groups.outbox import Outbox
from services.groups.profiles import Profiles
from services.groups.roles import Roles
from services.groups.snapshots import Snapshots
from services.groups.views import Views
from services.groups.webhooks import Webhooks
from shared.core.change import Actor
from shared.door import Caller, Door
from shared.http import ErrorBody, Probe
from shared.reasons import Reason


@dataclass(frozen=True)
class Groups:
    """What the routes need, as `app.state.groups`."""

    accounts: Accounts
    profiles: Profiles
    applications: Applications
    application_commands: ApplicationCommands
    leaving: Leaving
    blocks: Blocks
    jobs: Jobs
    audit_logs: AuditLogs
    memberships: Memberships
    keeping: Keeping
    notices: Notices
    roles: Roles
    channels: Channels
    members: Members
    invites: Invites
    webhooks: Webhooks
    directs: Directs
    group_directs: GroupDirects
    views: Views
    snapshots: Snapshots
    changes: Changes
    door: Door
    now: Callable[[], int]
    attempts: Attempts
    emails: Emails
    outbox: Outbox | None

    def readiness(self) -> Mapping[str, Probe]:
        """Return what `/readyz` asks beside the shared parts: nothing, since whoever has those can serve."""
        return {}

    def statistics(self) -> Mapping[str, float]:
        """Return what `/metrics` shows."""
        return {
            "changes_in_hand": self.changes.in_hand,
            "hashes_in_hand": self.accounts.hashes_in_hand,
            "notices_waiting": self.notices.waiting,
            "notices_dropped": self.notices.dropped,
            **self.views.statistics(),
            **self.snapshots.statistics(),
            "mails_waiting": self.outbox.waiting if self.outbox is not None else 0,
        }


def _groups_of(request: Request) -> Groups:
    groups: Groups = request.app.state.groups
    return groups


Service = Annotated[Groups, Depends(_groups_of)]


async def _actor_of(caller: Caller, reason: Reason) -> Actor:
    return Actor(caller, reason)


Acting = Annotated[Actor, Depends(_actor_of)]
"""A route's parameter: the user who calls, and why; for the audit log."""

OUTAGES: Final[dict[int | str, dict[str, Any]]] = {
    "5XX": {"model": ErrorBody, "description": "Try again: a part that is needed did not answer"}
}
"""What any route may answer when a part is away, for the OpenAPI document."""
