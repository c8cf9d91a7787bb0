"""Audit logs in Discord's v10 shape. Ring 1 (core)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from shared.core.audit import Entry
from shared.core.model import User
from shared.core.wire.users import user_of
from shared.core.wire.values import Json


def entry_of(entry: Entry) -> Json:
    """Return an entry. The target is told where there is one; `reason` and `options` where there are any."""
    told: Json = {
        "id": str(entry.id),
        "user_id": str(entry.by),
        "target_id": str(entry.targets[0]) if len(entry.targets) == 1 else None,
        "action_type": int(entry.action),
        "changes": [msgspec.to_builtins(one) for one in entry.changes],
    }
    if entry.options:
        told["options"] = entry.options
    if entry.reason:
        told["reason"] = entry.reason
    return told


def audit_log_of(entries: Iterable[Entry], users: Iterable[User]) -> Json:
    """Return a page of a group's audit log with the users whom it names; what there is not here is empty."""
    return {
        "audit_log_entries": [entry_of(entry) for entry in entries],
        "users": [user_of(user) for user in users],
        "application_commands": [],
        "auto_moderation_rules": [],
        "guild_scheduled_events": [],
        "integrations": [],
        "threads": [],
        "webhooks": [],
    }


def entry_dispatch_of(entry: Entry) -> Json:
    """Return the payload of GUILD_AUDIT_LOG_ENTRY_CREATE."""
    return entry_of(entry) | {"guild_id": str(entry.group_id)}
