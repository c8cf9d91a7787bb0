"""`make soak`: an hour of people who talk, come and go, make groups and delete them; nothing may be left behind.

    make soak [MINUTES=60]

A cluster, without faults. After some minutes of the same, everybody rests, and what each process holds is written down
(`samples`); then it goes on for MINUTES, everybody rests again, and all must be as it was: the rule is in `samples`.
What was said is judged as in chaos. The samples are in `FOLDER/soak.json`, their picture in `FOLDER/soak.png`.

Exit code 0: nothing is left behind and every promise was kept. 1: not so. 2: it could not begin.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx

from deploy.local.cluster import raise_file_limit
from deploy.local.folder import STATUS, Refused
from deploy.local.process import NotInstalled, StartFailed
from deploy.replay.rest import GaveUp
from tests.chaos.history import History
from tests.chaos.judging import PROMISES
from tests.chaos.load import ROOMS, invented
from tests.chaos.people import World
from tests.chaos.report import told_of
from tests.chaos.run import COUNTS, Plan, Run
from tests.chaos.samples import Sample, judge_leaks, sample, table_of
from tests.cluster.behind import Behind, open_cluster

_WARM: Final = 0.1
"""The part of the time that goes before, so that pools and caches are what they will be."""
_LEAST_WARM_S: Final = 20.0
_REST_S: Final = 45.0
"""Above the 30 s for which nodes keep bindings that nobody uses."""
_GROUP_S: Final = 3.0


class Soak(Run):
    """A run with two rests, and what there was meanwhile."""

    def __init__(self, plan: Plan, behind: Behind, history: History) -> None:
        super().__init__(plan, behind, None, history, _tell)
        self._samples: list[tuple[float, Sample]] = []
        self.began: Sample = {}
        self.ended: Sample = {}

    @property
    def samples(self) -> list[tuple[float, Sample]]:
        """What was seen, and at how many seconds."""
        return self._samples

    async def _go_through(self, world: World, sessions: asyncio.TaskGroup, client: httpx.AsyncClient) -> None:
        warm_s = max(_WARM * self._plan.seconds, _LEAST_WARM_S)
        self._began = asyncio.get_running_loop().time()
        for seconds in (warm_s, self._plan.seconds):
            _tell(f"people are at it for {seconds:.0f} s")
            sampling = asyncio.create_task(self._sample(client))
            making = asyncio.create_task(self._make_groups(world))
            await self._play(world, sessions, client, seconds)
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)
            _tell(f"everybody rests for {_REST_S:.0f} s")
            await asyncio.sleep(_REST_S)
            sampling.cancel()
            await asyncio.gather(sampling, return_exceptions=True)
            self.began, self.ended = self.ended, await self._look(client)
            self._samples.append((self._clock(), self.ended))

    async def _look(self, client: httpx.AsyncClient) -> Sample:
        processes = json.loads((self._behind.data / STATUS).read_text())["processes"]
        return await sample(client, processes)

    async def _sample(self, client: httpx.AsyncClient) -> None:
        every_s = max(2.0, self._plan.seconds / 360)
        while True:
            self._samples.append((self._clock(), await self._look(client)))
            await asyncio.sleep(every_s)

    async def _make_groups(self, world: World) -> None:
        """Make a group, let somebody join it, delete it; again and again."""
        number = 0
        while True:
            owner, guest = self._people[number % len(self._people)], self._people[(number + 1) % len(self._people)]
            number += 1
            name = f"Soak {self._clock():.3f} {owner.user.id}"
            with suppress(GaveUp):
                group = await world.rest.create_group(owner.user, name)
                await world.rest.join(guest.user, name)
                await world.rest.send(guest.user, group.channel_id, f"soak{number}", "hello")
                await asyncio.shield(world.rest.delete_group(owner.user, group.id))
            await asyncio.sleep(_GROUP_S)


async def _soak(plan: Plan) -> tuple[Soak, Any]:
    data = plan.folder / "data"
    data.mkdir(parents=True)
    history = History(plan.folder / "history.jsonl")
    try:
        async with open_cluster(data, plan.counts) as behind:
            soak = Soak(plan, behind, history)
            return soak, await soak.run()
    finally:
        history.close()


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description="See that nothing is left behind.")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--says", type=float, default=10.0, help="messages per second (10)")
    parser.add_argument(
        "--folder", type=Path, default=Path(".chaos/soak"), help="for all that is written (.chaos/soak)"
    )
    chosen = parser.parse_args()
    folder: Path = chosen.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    scripts = [invented(number, people) for number, people in enumerate(ROOMS)]
    plan = Plan(folder, 60 * chosen.minutes, scripts, chosen.says, counts=COUNTS)
    try:
        folder.mkdir(parents=True)
        raise_file_limit()
        soak, outcome = asyncio.run(_soak(plan))
    except (OSError, NotInstalled, StartFailed, Refused) as failure:
        print(f"soak: {failure}", file=sys.stderr)
        return 2
    except ExceptionGroup as failures:
        traceback.print_exception(failures)
        return 2
    leaks = judge_leaks(soak.began, soak.ended) if soak.began else ["it did not come to its end"]
    told = {
        "minutes": chosen.minutes,
        "began": soak.began,
        "ended": soak.ended,
        "leaks": leaks,
        "samples": soak.samples,
    }
    (folder / "soak.json").write_text(json.dumps(told) + "\n")
    shutil.move(folder / "data" / "logs", folder / "logs")
    shutil.rmtree(folder / "data", ignore_errors=True)
    print(told_of(outcome))
    print(f"\n{table_of(soak.began, soak.ended)}\n")
    for leak in leaks:
        print(f"LEFT BEHIND {leak}")
    try:
        from tests.chaos.picture import plot_samples

        plot_samples(soak.samples, folder / "soak.png")
    except ImportError:
        print("no picture: matplotlib is not installed (pip install 'starling[bench]')")
    is_good = not leaks and outcome.is_good
    print("nothing is left behind" if is_good else "NOT proved", f"({len(PROMISES)} promises judged); all in {folder}")
    return 0 if is_good else 1


def _tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
