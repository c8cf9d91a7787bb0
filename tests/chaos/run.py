"""One run: a cluster behind proxies, people, faults; then everything heals, settles, is read, and is judged.

Shells. `Plan` says what is done, `Outcome` what came of it. What each part does is in `load`, `faults`,
`watching`; what it means is in `judging`.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from deploy.local.folder import STATUS
from deploy.replay.play import leaves_of
from deploy.replay.rest import Addresses, Counts, GaveUp, Rest, new_http_client
from deploy.replay.script import Script
from deploy.replay.session import BEAT_S, Ways
from tests.chaos.faults import Faults
from tests.chaos.history import NOBODY, PIN, READINGS, Bears, History, Joined, Paged, Settled
from tests.chaos.judging import Verdict, judge
from tests.chaos.load import Play, come_and_go, invented, look_around
from tests.chaos.people import ANSWER_S, Person, Room, World, event_of
from tests.chaos.schedule import SERVERS, Fault
from tests.chaos.watching import EVERY_S, alarms_of, measure
from tests.cluster.behind import Behind, open_cluster
from tests.hosts import Hosts

COUNTS: Final[Mapping[str, int]] = {"gateway": 3, "history": 2, "groups": 2}
SETTLE_S: Final = 90.0
"""How long what is stored may take to reach everybody: nodes look every 30 s for what they miss."""
_LISTEN_S: Final = 2.0
_LOOK_S: Final = 0.2
_TELL_S: Final = 10.0
PAIRS: Final = 6
"""So many pairs of people talk in direct channels, too."""
TELLS: Final[Mapping[str, Callable[[int], bool]]] = {
    "half": lambda number: number % 2 == 0,
    "yes": lambda number: True,
    "no": lambda number: False,
}
"""Who, by number, tells positions when it resumes."""
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "gateway": ("rabbitmq", "redis"),
    "history": ("rabbitmq", "redis", "mongo"),
    "groups": ("rabbitmq", "redis", "mongo"),
}

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is done for how long: one script per room, messages per second over all rooms, faults.

    `positions`: who tells them in RESUME, a key of `TELLS`.
    """

    folder: Path
    seconds: float
    scripts: Sequence[Script]
    says: float
    faults: Sequence[Fault] = ()
    seed: int = 0
    positions: str = "half"
    sessions_every_s: float = 5.0
    counts: Mapping[str, int] = field(default_factory=lambda: COUNTS)


@dataclass
class Outcome:
    """What came of a run. `problems` is what the judge does not know of: nobody answered, something of ours crashed."""

    verdict: Verdict
    problems: list[str]
    made: Mapping[str, int]
    counts: Counts
    people: int
    rounds: float
    """How often each script was played, at least."""

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept and nothing else went wrong."""
        return self.verdict.is_good and not self.problems


class Run:
    """One run on a cluster that stands already."""

    def __init__(self, plan: Plan, behind: Behind, hosts: Hosts | None, history: History, tell: Tell) -> None:
        self._plan = plan
        self._behind = behind
        self._hosts = hosts
        self._history = history
        self._tell = tell
        self._began = asyncio.get_running_loop().time()
        self._counts = Counts()
        self._problems: list[str] = []
        self._made: Mapping[str, int] = {}
        self._people: list[Person] = []
        self._plays: list[Play] = []

    def _clock(self) -> float:
        return asyncio.get_running_loop().time() - self._began

    async def run(self) -> Outcome:
        """Do all of it."""
        url = self._behind.url
        world: World | None = None
        try:
            async with AsyncExitStack() as stack:
                client = await stack.enter_async_context(new_http_client())
                rest = Rest(client, Addresses(url, url), self._counts, ANSWER_S)
                password = secrets.token_urlsafe(12)
                world = World(self._history, rest, Ways((url,)), self._counts, self._clock, password)
                sessions = await stack.enter_async_context(asyncio.TaskGroup())
                await self._gather(world, sessions)
                beating = sessions.create_task(self._beat())
                await self._go_through(world, sessions, client)
                await self._settle(world)
                await self._read(world)
                beating.cancel()
                for person in self._people:
                    person.stop()
        except* GaveUp as failures:
            self._problems += map(str, leaves_of(failures))
        self._problems += world.unanswered if world is not None else []
        alarms = alarms_of(self._behind.data / "logs")
        self._problems += [f"{line} ({count} times)" for line, count in alarms.items()]
        if self._plan.faults and not self._made:
            self._problems.append("no fault hit anything")
        verdict = judge(self._history.records)
        rounds = min((play.rounds for play in self._plays), default=0.0)
        return Outcome(verdict, self._problems, self._made, self._counts, len(self._people), rounds)

    async def _gather(self, world: World, sessions: asyncio.TaskGroup) -> None:
        """Register everybody, open their sessions, and make the rooms."""
        run = secrets.token_hex(3)
        gate = asyncio.Semaphore(4)

        async def register(number: int) -> Person:
            name = f"chaos.{run}.{number}"
            async with gate:
                user = await world.rest.register(name, world.password)
            world.numbers[str(user.id)] = number
            tells_positions = TELLS[self._plan.positions](number)
            person = Person(number, name, user, world, tells_positions=tells_positions)
            person.come(sessions)
            return person

        wanted = sum(len(script.nicks) for script in self._plan.scripts)
        self._people = list(await asyncio.gather(*map(register, range(wanted))))
        async with asyncio.timeout(ANSWER_S):
            for person in self._people:
                await person.session.wait_ready()
        left = iter(self._people)
        for number, script in enumerate(self._plan.scripts):
            people = [next(left) for _ in script.nicks]
            name = f"Chaos {run} {number}"
            group = await world.rest.create_group(people[0].user, name)
            self._open(world, Room(group.channel_id, people[0], {people[0].number}, group.id, name), script, people)
        groups = len(self._plays)
        chance = random.Random(self._plan.seed)  # noqa: S311 (no secret)
        pairs = chance.sample(self._people, min(2 * PAIRS, wanted - wanted % 2))
        for one, other in zip(pairs[::2], pairs[1::2], strict=True):
            channel = await world.rest.open_direct(one.user, other.user)
            script = invented(self._plan.seed + channel, 2)
            self._open(world, Room(channel, one, {one.number, other.number}), script, [one, other])
        self._tell(f"{wanted} people in {groups} groups and {len(self._plays) - groups} direct channels")

    def _open(self, world: World, room: Room, script: Script, people: Sequence[Person]) -> None:
        """Take in a room that there is now, with those who are in it."""
        world.channels.add(room.channel)
        for number in sorted(room.inside):
            world.note(Joined, number, room.channel)
        says = self._plan.says / (len(self._plan.scripts) + PAIRS)
        self._plays.append(Play(room, script, people, world, says, self._plan.seed + len(self._plays)))

    async def _go_through(self, world: World, sessions: asyncio.TaskGroup, client: httpx.AsyncClient) -> None:
        """Do what is between the begin and the reading."""
        self._began = asyncio.get_running_loop().time()
        await self._play(world, sessions, client, self._plan.seconds)

    async def _play(self, world: World, sessions: asyncio.TaskGroup, client: httpx.AsyncClient, seconds: float) -> None:
        """Let people do things while faults happen; return when all that was begun has come to its end."""
        over = asyncio.Event()
        faults = Faults(self._behind, self._hosts, world, self._tell)
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(self._watch(world, client)), tasks.create_task(self._progress())]
            playing = [tasks.create_task(play.run(over)) for play in self._plays]
            seed, every_s = self._plan.seed, self._plan.sessions_every_s
            playing.append(tasks.create_task(look_around(self._plays, over, seed)))
            playing.append(tasks.create_task(come_and_go(self._plays, world, sessions, over, every_s, seed)))
            breaking = tasks.create_task(faults.run(self._plan.faults))
            await asyncio.sleep(seconds)
            over.set()
            self._tell(f"{self._clock():6.1f} s  nobody begins anything new; healing")
            await breaking
            try:
                async with asyncio.timeout(ANSWER_S):
                    await self._behind.wait_all_ready()
            except TimeoutError:
                self._problems.append("not every process is ready again")
            await asyncio.wait(playing)
            for one in watching:
                one.cancel()
        self._problems += faults.problems
        self._made = faults.made

    async def _settle(self, world: World) -> None:
        """Wait until everybody got all that there is, or nobody is owed any more time."""
        self._tell(f"{self._clock():6.1f} s  settling")
        heads = {play.room.channel: (await self._events(world, play.room))[1] for play in self._plays}

        def lacks() -> int:
            return sum(
                person.positions_seen.get(play.room.channel, -1) < heads[play.room.channel] or not person.is_open
                for play in self._plays
                for person in play.inside()
            )

        try:
            async with asyncio.timeout(SETTLE_S):
                while lacks():
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            self._tell(f"{self._clock():6.1f} s  {lacks()} did not get everything")
        await asyncio.sleep(_LISTEN_S)
        world.note(Settled)

    async def _events(self, world: World, room: Room) -> tuple[list[dict[str, Any]], int]:
        """Return all events of a room's channel, and the seq of the last one that clients are told of."""
        events: list[dict[str, Any]] = []
        is_more = True
        while is_more:
            page, is_more = await world.rest.events(room.owner.user, room.channel, events[-1]["seq"] if events else 0)
            events += page
        return events, max((event["seq"] for event in events if event["t"] is not None), default=0)

    async def _read(self, world: World) -> None:
        """Write down what is stored: all events, and all pages as two readers see them."""
        self._tell(f"{self._clock():6.1f} s  reading")
        for play in self._plays:
            room = play.room
            for event in (await self._events(world, room))[0]:
                self._history.note(event_of(self._clock(), room.channel, event, world.numbers))
            for reading, (limit, is_backward) in READINGS.items():
                reader = play.inside()[-reading % len(play.inside())]
                pages = await world.rest.read_pages(reader.user, room.channel, limit, is_backward=is_backward)
                for one in pages:
                    author = world.numbers.get(one["author"]["id"], NOBODY)
                    nonce, message_id = str(one.get("nonce", "")), int(one["id"])
                    world.note(Paged, reading, room.channel, message_id, one["seq"], nonce, author, one["content"])
                    for reaction in one.get("reactions", ()):
                        world.note(Bears, room.channel, message_id, reaction["emoji"]["name"], reaction["count"])
            for one in await world.rest.pins(room.owner.user, room.channel):
                world.note(Bears, room.channel, int(one["id"]), PIN, 1)

    async def _watch(self, world: World, client: httpx.AsyncClient) -> None:
        while True:
            processes = json.loads((self._behind.data / STATUS).read_text())["processes"]
            await measure(world, client, processes)
            await asyncio.sleep(EVERY_S)

    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(_TELL_S)
            open_ = sum(person.is_open for person in self._people)
            said = sum(play.said for play in self._plays)
            text = f"{said} said, {len(self._history.records)} records, {open_} of {len(self._people)} connected"
            self._tell(f"{self._clock():6.1f} s  {text}, {self._counts.retries} retries")

    async def _beat(self) -> None:
        """Let all sessions send their heartbeats, some in each second."""
        while True:
            for some in range(BEAT_S):
                await asyncio.sleep(1)
                for person in self._people[some::BEAT_S]:
                    await person.session.beat()


async def run(plan: Plan, hosts: Hosts | None, tell: Tell) -> Outcome:
    """Run a cluster in `plan.folder`, and a plan on it. The history is `history.jsonl` there."""
    data = plan.folder / "data"
    data.mkdir(parents=True)
    apart = [
        f"{service}-{number}.{server}"
        for service, count in plan.counts.items()
        for number in range(1, count + 1)
        for server in SERVERS
        if server in _NEEDS[service]
    ]
    history = History(plan.folder / "history.jsonl")
    try:
        tell("starting the cluster")
        async with open_cluster(data, plan.counts, apart=apart, hosts=hosts) as behind:
            return await Run(plan, behind, hosts, history, tell).run()
    finally:
        history.close()
