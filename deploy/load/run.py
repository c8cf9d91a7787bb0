"""Stages, one after the other: each is played for its time, then all that was said is heard, then it is summed up.

A client's shell around `deploy.load.company`.
"""

from __future__ import annotations

import asyncio
from typing import Final

from deploy.load.company import Company
from deploy.load.plan import Stage
from deploy.load.record import Part

_SETTLE_S: Final = 120.0


async def arrive(company: Company, deadline_s: float) -> Part:
    """Wait until everybody is online; return what that came to. Raises `LoadFailed`."""
    company.record.start_part("arrival")
    await company.wait_online(deadline_s)
    behind = await company.hush(_SETTLE_S)
    company.record.stop_work()
    return company.record.end_part(behind=behind)


async def play(company: Company, name: str, stage: Stage) -> Part:
    """Play a stage to its end and wait until all was heard. Raises `LoadFailed`."""
    company.record.start_part(name)
    company.mark(name)
    company.do(stage)
    await asyncio.sleep(stage.seconds)
    company.record.stop_work()
    behind = await company.hush(_SETTLE_S)
    return company.record.end_part(behind=behind)
