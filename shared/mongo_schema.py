"""What MongoDB holds: collections, their indexes, and the ordered steps that make them.

Ring 3 (adapter), values only. One schema for all services, since they start in any order and share one
version. A step is idempotent and may run in several processes at once; the n-th step makes version n.
A release reads what the release before it has written. `open_database` runs the steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Index:
    """An index: (field, 1 or -1) pairs. `sparse` leaves out documents without any of the fields."""

    keys: tuple[tuple[str, int], ...]
    sparse: bool = False


def _ascending(*fields: str, sparse: bool = False) -> Index:
    return Index(tuple((field, 1) for field in fields), sparse)


Step = Mapping[str, tuple[Index, ...]]

STEPS: Final[tuple[Step, ...]] = (
    {
        "buckets": (
            _ascending("stream", "first_seq"),  # find_bucket_of_seq
            _ascending("stream", "first_id"),  # find_bucket_of_id
            _ascending("dirty_at", sparse=True),  # the sweeper of unpublished events
        ),
        "channels": (
            _ascending("group_id", sparse=True),
            Index((("recipients.id", 1), ("_id", -1))),
        ),
        "members": (_ascending("group_id", "gone", "user.id"),),
        "memberships": (_ascending("user_id", "present", "group_id"),),
        # By _id alone: heads, accounts, application_commands, claims, revocations, groups, tallies, workers, schema.
    },
    {
        "users": (_ascending("name", sparse=True), _ascending("owner", sparse=True)),  # find_users, list_bots
        "jobs": (_ascending("due"),),
        "codes": (_ascending("at"),),
        "blocks": (_ascending("owner", "present"),),
    },
    {
        "roles": (_ascending("group_id", sparse=True),),
        "bans": (_ascending("group_id", "user.id", sparse=True),),
    },
    {
        "reactions": (
            _ascending("message_id", "emoji", "epoch", "gone", "user.id"),  # list_reactors
            _ascending("user.id", "message_id"),  # list_own
        ),
        "pins": (Index((("channel_id", 1), ("gone", 1), ("at", -1), ("message_id", -1))),),
    },
    {
        "invites": (_ascending("group_id", sparse=True),),
    },
    {
        "webhooks": (_ascending("group_id", "channel_id", sparse=True),),
    },
    {
        "audit": (Index((("keys", 1), ("id", -1))), _ascending("at")),  # page, forget
    },
    {
        "members": (_ascending("group_id", "name"), _ascending("shown_in", "shown", sparse=True)),  # find_members
    },
    {
        "markers": (Index((("user_id", 1), ("message_id", -1))),),  # list_markers
    },
    {
        "hidden_directs": (Index((("user_id", 1), ("present", 1), ("channel_id", -1))),),  # list_hidden
    },
)
