"""Jobs on MongoDB: one document each, taken up by who gives it another `due` first.

Ring 3 (adapter).
"""

from __future__ import annotations

from pymongo.errors import DuplicateKeyError

from services.groups.mongo_documents import VERSION, Documents
from services.groups.store import Job


class MongoJobs(Documents):
    """The jobs of a `GroupStore`. All raise `StoreUnavailable`."""

    async def put_job(self, job: Job) -> None:
        """Ask for work, in place of an earlier asking for the same."""
        asked = {"_id": job.key, "v": VERSION, "due": job.due, "mark": job.mark}
        async with self._mongo.asking():
            try:
                await self._mongo["jobs"].replace_one({"_id": job.key}, asked, upsert=True)
            except DuplicateKeyError:
                await self._mongo["jobs"].replace_one({"_id": job.key}, asked)

    async def find_jobs(self, before: int, limit: int) -> list[Job]:
        """Return jobs whose `due` is below `before`, the longest due first."""
        cursor = self._mongo["jobs"].find({"due": {"$gte": 0, "$lt": before}}).sort("due", 1).limit(limit)
        async with self._mongo.asking():
            return [Job(one["_id"], int(one["due"]), int(one["mark"])) for one in await cursor.to_list(limit)]

    async def take_job(self, job: Job, due: int) -> Job | None:
        """Give a job another `due`; None if it is no longer as it was seen."""
        same = {"_id": job.key, "due": job.due, "mark": job.mark}
        async with self._mongo.asking():
            result = await self._mongo["jobs"].update_one(same, {"$set": {"due": due}})
        return Job(job.key, due, job.mark) if result.matched_count else None

    async def end_job(self, job: Job) -> None:
        """Take a job away, unless it was asked for anew or somebody else took it up."""
        async with self._mongo.asking():
            await self._mongo["jobs"].delete_one({"_id": job.key, "due": job.due, "mark": job.mark})
