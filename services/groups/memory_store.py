"""The group store in the memory of one process, put together: each noun has a file of its own.

Ring 2. For tests, and the measure of the MongoDB one. Held by tests/contracts/test_group_store.py.
"""

from __future__ import annotations

from services.groups.memory_accounts import MemoryAccounts
from services.groups.memory_channels import MemoryChannels
from services.groups.memory_groups import MemoryRooms
from services.groups.memory_jobs import MemoryJobs
from services.groups.memory_members import MemoryMembers
from services.groups.memory_users import MemoryUsers


class MemoryGroups(MemoryAccounts, MemoryUsers, MemoryRooms, MemoryChannels, MemoryMembers, MemoryJobs):
    """A `GroupStore` without a server."""
