"""The group store on MongoDB, put together: each noun has a file of its own.

Ring 3 (adapter). Indexes: `shared.mongo_schema`. Held by tests/contracts/test_group_store.py.
"""

from __future__ import annotations

from services.groups.mongo_accounts import MongoAccounts
from services.groups.mongo_channels import MongoChannels
from services.groups.mongo_groups import MongoRooms
from services.groups.mongo_jobs import MongoJobs
from services.groups.mongo_members import MongoMembers
from services.groups.mongo_users import MongoUsers


class MongoGroups(MongoAccounts, MongoUsers, MongoRooms, MongoChannels, MongoMembers, MongoJobs):
    """A `GroupStore` on MongoDB. All raise `StoreUnavailable`."""
