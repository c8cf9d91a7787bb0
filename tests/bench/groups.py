"""`make bench-groups`: snapshots, identifies, joins and pages of members, of a whole cluster.

`python -m tests.bench.groups`. A user of many groups comes to a node while nothing is cached, to another while what
groups knows is, and to that once more, which follows the groups by then. Thousands identify at once, first
cold, then on another node from the cache. Users join one big group as fast as it takes them. Pages of members are
read in a small group and in a large one, in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
from websockets.sync.client import connect

from deploy.load.console import raise_file_limit, say
from deploy.local.process import NotInstalled, StartFailed
from shared.auth import Tokens
from shared.clock import now_ms
from shared.core.ids import IdSource
from shared.core.model import User
from shared.settings import MongoSettings
from tests.bench.crowd import CrowdFailed
from tests.bench.devices import Device, Devices, Phase
from tests.bench.process import counting, wait_quiet
from tests.bench.results import Ran, keep
from tests.bench.seeding import Seeded, make_group, make_users, new_ids, store
from tests.bench.starling import Cluster, open_cluster

_COME_S: Final = 300.0
_ANSWER_S: Final = 60.0
_GUILDS: Final = 1
"""The intent that GUILD_CREATE needs."""
_PAGE: Final = 1000
_HOPPERS: Final = 16
"""Users of many groups, each with groups of its own: so many times each of their figures is measured."""
_LITTLE_S: Final = 0.05
_NODES: Final = ("gateway-1", "gateway-2")

Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How much of all: groups of a user, members of each, sessions at once, joins and at once, the large group."""

    groups: int
    size: int
    sessions: int
    joins: int
    at_once: int
    large: int


@dataclass(frozen=True)
class People:
    """Who is stored: `hoppers` are in many groups each, `crowd` in one each, `comers` in none. All names are unique."""

    hoppers: Sequence[User]
    crowd: Sequence[User]
    comers: Sequence[User]
    large: Seeded
    small: Seeded


def settle(mongo_url: str, plan: Plan) -> People:
    """Store all people and groups."""
    ids = new_ids()
    hoppers, comers = make_users(ids, "hopper", _HOPPERS), make_users(ids, "comer", plan.joins)
    groups = [
        make_group(ids, f"h{number}_{index}", (hopper, *make_users(ids, f"h{number}_{index}", plan.size - 1)))
        for number, hopper in enumerate(hoppers)
        for index in range(plan.groups)
    ]
    rooms = [_room(ids, f"room{number}", 50) for number in range(plan.sessions // 50)]
    large, small = _room(ids, "large", plan.large, public=True), _room(ids, "small", _PAGE)
    crowd = [user for room in rooms for user in room.members]
    come = [*hoppers, *crowd, *comers, large.members[0], small.members[0]]
    asyncio.run(store(MongoSettings(url=mongo_url), [*groups, *rooms, large, small], come, ids))
    return People(hoppers, crowd, comers, large, small)


def _room(ids: IdSource, name: str, size: int, *, public: bool = False) -> Seeded:
    return make_group(ids, name, make_users(ids, name, size), public=public)


class Bench:
    """A run on a cluster."""

    def __init__(self, cluster: Cluster, plan: Plan, people: People) -> None:
        self._cluster = cluster
        self._plan = plan
        self._people = people
        self._tokens = Tokens(cluster.secret)
        self.rows: list[Row] = []

    def run(self) -> None:
        """Measure everything."""
        self.snapshots()
        self.storms()
        asyncio.run(self.joins())
        self.pages()

    def snapshots(self) -> None:
        """Let each user of many groups come three times."""
        for what, node in (("cold", _NODES[0]), ("cached", _NODES[1]), ("followed by the node", _NODES[1])):
            wait_quiet(self._cluster.pid("mongo"))
            with counting(self._cluster.pids()) as cpu:
                took = [self._come(node, user) for user in self._people.hoppers]
            self._note(f"a user in {self._plan.groups} groups, {what}", [1000 * one for one in took], cpu)

    def _come(self, node: str, user: User) -> float:
        """Return the seconds from IDENTIFY to the last GUILD_CREATE."""
        said = {"op": 2, "d": {"token": self._token(user), "intents": _GUILDS, "properties": {}}}
        url = f"ws://127.0.0.1:{self._cluster.port(node)}/gateway?v=10&encoding=json"
        with connect(url, max_size=None, open_timeout=_ANSWER_S) as socket:
            socket.recv(_ANSWER_S)
            began, left = time.perf_counter(), self._plan.groups
            socket.send(msgspec.json.encode(said), text=True)
            while left:
                left -= _frame_decoder.decode(socket.recv(_ANSWER_S)).t == "GUILD_CREATE"
            return time.perf_counter() - began

    def storms(self) -> None:
        """Let thousands identify at once on a node, then on the other."""
        for what, node in zip(("cold", "cached"), _NODES, strict=True):
            wait_quiet(self._cluster.pid("mongo"))
            devices = Devices([self._cluster.port(node)])
            try:
                some = [Device(self._token(user)) for user in self._people.crowd]
                with counting(self._cluster.pids()) as cpu:
                    began = time.perf_counter()
                    devices.bring(some)
                    devices.wait(partial(_are_in, some), _COME_S, "that all came", _rest)
                    took = time.perf_counter() - began
                ready = [1000 * (one.back_at - began) for one in some]
                self._note(f"{len(some)} identify at once, {what}", ready, cpu, per_s=len(some) / took, seconds=took)
            finally:
                devices.close()

    async def joins(self) -> None:
        """Let users join the large group, some at once all the time."""
        waiting, took = list(self._people.comers), list[float]()
        url, name = self._cluster.address("groups-1"), self._people.large.group.name
        limits = httpx.Limits(max_connections=self._plan.at_once)
        async with httpx.AsyncClient(base_url=url, limits=limits, timeout=_ANSWER_S) as client:

            async def join() -> None:
                while waiting:
                    headers = {"Authorization": self._token(waiting.pop())}
                    began = time.perf_counter()
                    answer = await client.post("/api/v10/guilds/join", json={"name": name}, headers=headers)
                    answer.raise_for_status()
                    took.append(time.perf_counter() - began)

            wait_quiet(self._cluster.pid("mongo"))
            with counting(self._cluster.pids()) as cpu:
                began = time.perf_counter()
                await asyncio.gather(*(join() for _ in range(self._plan.at_once)))
                seconds = time.perf_counter() - began
        what = f"joins into one group of {self._plan.large}, {self._plan.at_once} at once"
        self._note(what, [1000 * one for one in took], cpu, per_s=len(took) / seconds)

    def pages(self) -> None:
        """Read pages of members, the newest, the oldest and between, of the small group and the large, in turns."""
        rooms = {"small": self._people.small, "large": self._people.large}
        with httpx.Client(base_url=self._cluster.address("groups-1"), timeout=_ANSWER_S) as client:
            for limit in (100, _PAGE):
                took: dict[str, list[float]] = {name: [] for name in rooms}
                spent: dict[str, dict[str, float]] = {name: {} for name in rooms}
                for _ in range(4):
                    for name, room in rooms.items():
                        with counting(self._cluster.pids()) as cpu:
                            for place in range(10):
                                after = room.members[(len(room.members) - limit) * place // 10].id - 1
                                took[name].append(1000 * self._page(client, room, after, limit))
                        spent[name] = {one: spent[name].get(one, 0) + used for one, used in cpu.items()}
                for name, room in rooms.items():
                    self._note(f"{limit} members of {len(room.members)}", took[name], spent[name])

    def _page(self, client: httpx.Client, room: Seeded, after: int, limit: int) -> float:
        began = time.perf_counter()
        path, headers = f"/api/v10/guilds/{room.group.id}/members", {"Authorization": self._token(room.members[0])}
        answer = client.get(path, params={"after": after, "limit": limit}, headers=headers)
        if len(answer.raise_for_status().json()) != limit:
            raise CrowdFailed("a page lacks members")
        return time.perf_counter() - began

    def _token(self, user: User) -> str:
        return self._tokens.mint(user.id, now_ms())

    def _note(self, what: str, took_ms: Sequence[float], cpu: Mapping[str, float], **more: float) -> None:
        cuts = statistics.quantiles(took_ms, n=100, method="inclusive")
        row = {"what": what, "count": len(took_ms), "p50_ms": cuts[49], "p99_ms": cuts[98], **more}
        row["cpu_ms_each"] = {name: 1000 * used / len(took_ms) for name, used in cpu.items() if used >= _LITTLE_S}
        self.rows.append(row)
        print(told_of(row), flush=True)


class _Frame(msgspec.Struct):
    t: str | None = None


_frame_decoder = msgspec.json.Decoder(_Frame)


def told_of(row: Row) -> str:
    """Return a row as text: latencies, what it comes to per second, and who worked how long for each."""
    per_s = f"{row['per_s']:>7,.0f}/s" if "per_s" in row else " " * 9
    spent = sorted(row["cpu_ms_each"].items(), key=lambda one: -one[1])
    cpu = ", ".join(f"{name} {used:.2f}" for name, used in spent)
    return f"{row['what']:<46} p50 {row['p50_ms']:>8.1f} ms  p99 {row['p99_ms']:>8.1f} ms {per_s}  CPU ms each: {cpu}"


def _are_in(devices: Sequence[Device]) -> bool:
    return all(one.phase is Phase.IN for one in devices)


def _rest() -> None:
    """Do nothing between two steps."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it: 0, or 1 when something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.groups", description="Measure groups.")
    option: Callable[..., Any] = parser.add_argument
    option("--folder", type=Path, default=Path(".bench"), help="for data and results (.bench)")
    option("--groups", type=int, default=100, help="groups of a user (100)")
    option("--size", type=int, default=20, help="members of each (20)")
    option("--sessions", type=int, default=5000, help="identifies at once (5000)")
    option("--joins", type=int, default=1000, help="joins into one group (1000)")
    option("--at-once", type=int, default=64, help="of them on their way (64)")
    option("--large", type=int, default=100_000, help="members of the large group (100000)")
    chosen = vars(parser.parse_args(arguments))
    folder: Path = chosen.pop("folder").resolve()
    plan = Plan(**chosen)
    folder.mkdir(parents=True, exist_ok=True)
    if (refusal := raise_file_limit(plan.sessions + 500)) is not None:
        print(f"bench: {refusal}", file=sys.stderr)
        return 1
    gc.freeze()
    gc.disable()  # the load generator makes no cycles worth a pause
    ran = Ran()
    try:
        with open_cluster(folder, gateways=len(_NODES)) as cluster:
            say("the cluster is up; storing its people")
            bench = Bench(cluster, plan, settle(cluster.address("mongo"), plan))
            bench.run()
    except (CrowdFailed, NotInstalled, StartFailed, httpx.HTTPError, TimeoutError) as failure:
        print(f"bench: {failure!r}", file=sys.stderr)
        return 1
    say(f"  all in {keep(folder, 'groups', ran, {'plan': plan, 'rows': bench.rows})}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
