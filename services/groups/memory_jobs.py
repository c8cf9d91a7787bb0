"""Jobs in memory, taken up by who gives them another `due` first.

Ring 2. A part of the group store: see `memory_store`.
"""

from __future__ import annotations

from services.groups.store import Job


class MemoryJobs:
    """The jobs of a `GroupStore`."""

    def __init__(self) -> None:
        super().__init__()
        self._jobs: dict[str, Job] = {}

    async def put_job(self, job: Job) -> None:
        """Ask for work, in place of an earlier asking for the same."""
        self._jobs[job.key] = job

    async def find_jobs(self, before: int, limit: int) -> list[Job]:
        """Return jobs whose `due` is below `before`, the longest due first."""
        return sorted((job for job in self._jobs.values() if job.due < before), key=lambda job: job.due)[:limit]

    async def take_job(self, job: Job, due: int) -> Job | None:
        """Give a job another `due`; None if it is no longer as it was seen."""
        if self._jobs.get(job.key) != job:
            return None
        taken = self._jobs[job.key] = Job(job.key, due, job.mark)
        return taken

    async def end_job(self, job: Job) -> None:
        """Take a job away, unless it was asked for anew or somebody else took it up."""
        if self._jobs.get(job.key) == job:
            del self._jobs[job.key]
