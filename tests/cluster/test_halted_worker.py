"""A history process is halted in the middle of a batch: another takes its shards, and its late write loses.

MongoDB itself is halted: senders are told to try again, and what is in the log is stored when it is back.

The same in one process, at every step: tests/history/test_two_workers.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from deploy.replay.play import Replay
from deploy.replay.report import table_of
from tests.cluster.behind import Behind, listed, open_cluster, play

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("cluster_servers"), pytest.mark.timeout(240)]

WRITERS = ("history-1", "history-2")
COMMIT = b"\x02update\x00\x08\x00\x00\x00buckets\x00"
"""How a bulk of commits begins on MongoDB's wire."""
LOST = b"E11000"
"""How MongoDB tells a commit that lost."""
TAKE_OVER_S = 60


def halt_at_commit(behind: Behind, replay: Replay, *, hold: bool) -> Callable[[], Awaitable[None]]:
    """Return a fault: who commits next is halted, and goes on only when another has settled what it had in hand.

    With `hold` the commit reaches MongoDB after that, and must lose; without it at once: then its answer comes late.
    """

    async def fault() -> None:
        watched = [(name, behind.servers[f"{name}.mongo"]) for name in WRITERS]
        seen = {asyncio.create_task(proxy.watch(COMMIT, hold=hold).wait()): name for name, proxy in watched}
        (first, *_), others = await asyncio.wait(seen, return_when=asyncio.FIRST_COMPLETED)
        for other in others:
            other.cancel()
        for name, proxy in watched:
            if name != seen[first] or not hold:
                proxy.release()
        pid = listed(behind.data, "pid")[seen[first]]
        os.kill(pid, signal.SIGSTOP)
        late = behind.servers[f"{seen[first]}.mongo"]
        try:
            done = replay.done
            async with asyncio.timeout(TAKE_OVER_S):
                while replay.done < done + 2:
                    await asyncio.sleep(0.05)
                late.release()
                if hold:
                    await late.watch(LOST, hold=False).wait()
        finally:
            os.kill(pid, signal.SIGCONT)
            late.release()

    return fault


def halt_mongo(behind: Behind, replay: Replay) -> Callable[[], Awaitable[None]]:
    """Return a fault: MongoDB is halted until a sender was told to try again."""

    async def fault() -> None:
        pid = listed(behind.data, "pid")["mongo"]
        os.kill(pid, signal.SIGSTOP)
        try:
            retries = replay.retries
            async with asyncio.timeout(TAKE_OVER_S):
                while replay.retries == retries:
                    await asyncio.sleep(0.05)
        finally:
            os.kill(pid, signal.SIGCONT)

    return fault


async def test_a_late_write_loses_and_every_sender_is_answered(tmp_path: Path) -> None:
    """Twice a worker believes that the shard is its own and is wrong, then the database is away: all is there once."""
    counts = {"groups": 1, "history": 2, "gateway": 1}
    apart = [f"{name}.mongo" for name in WRITERS]
    opening = open_cluster(
        tmp_path, counts, apart=apart, STARLING_GATEWAY__SEND_TIMEOUT="PT2S", STARLING_MONGO__TIMEOUT="PT3S"
    )
    async with opening as behind, asyncio.TaskGroup() as tasks:
        replay = behind.replay(60)
        faults = [halt_at_commit(behind, replay, hold=hold) for hold in (True, False)]
        halting = tasks.create_task(play(replay, [*faults, halt_mongo(behind, replay)]))
        report = await replay.run()
        assert halting.done(), "the replay ended before the last fault"
        assert report.is_good, table_of(report)
        assert report.total.messages == 60
        assert behind.restarted() == set(), "no process had to be"
