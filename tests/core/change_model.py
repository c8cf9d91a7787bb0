"""A model of rival replicas that change one group's stream: every step can crash, lose its answer, or come late.

`Replicas` is a Hypothesis state machine over the real `change` and `settle` generators and any `StreamStore`.
Used by test_change.py on memory and by tests/groups/test_mongo.py on MongoDB's wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from shared.core.change import Clean, Decide, Follow, Project, change, settle
from shared.core.errors import StarlingError
from shared.core.events import AnyBody
from shared.core.group_events import MemberAdded, MemberRemoved
from shared.core.ids import IdSource
from shared.core.model import Member, User
from shared.core.stream import Limits, Record, Write
from shared.core.writing import Commit, Publish, RaiseHeads, ReadBucket, ReadHead
from shared.memory_streams import MemoryStreams
from shared.streams import StreamStore

GROUP = 9
SMALL = Limits(changes=2)
START_MS = 1_700_000_000_000
USERS = tuple(User(number, f"user{number}") for number in (1, 2, 3))
ACTORS = 3

Fate = Literal["stored", "stored, unanswered", "lost", "late"]


@dataclass
class Actor:
    """One call in one replica, and the effect that it waits for."""

    running: Generator[Any, Any, Any]
    user: User | None
    joins: bool
    command_id: int
    effect: Any = None
    decided: AnyBody | None = None


def replay(records: list[Record], to: int) -> dict[int, tuple[int, bool]]:
    """Return who is in the group after the event `to`, with the seq that made it so. Fails where it makes no sense."""
    members: dict[int, tuple[int, bool]] = {}
    for record in records[:to]:
        match record.body:
            case MemberAdded(member):
                assert not members.get(member.user.id, (0, False))[1], "joined twice: decided on incomplete facts"
                members[member.user.id] = (record.seq, True)
            case MemberRemoved(user):
                assert members[user.id][1], "left twice: decided on incomplete facts"
                members[user.id] = (record.seq, False)
    return members


class Replicas(RuleBasedStateMachine):
    """Three calls at a time on one stream; each effect of each is performed when the machine chooses."""

    def open_store(self) -> tuple[asyncio.Runner, StreamStore, str]:
        """Return a store, the loop to ask it on, and an empty stream in it; subclasses choose which."""
        return asyncio.Runner(), MemoryStreams(), f"g:{GROUP}"

    def close_store(self) -> None:
        """Let the store go."""
        self.runner.close()

    def __init__(self) -> None:
        super().__init__()
        self.runner, self.store, self.stream = self.open_store()
        self.now = START_MS
        self.commands = 0
        self.ids = IdSource(1)
        self.actors: list[Actor | None] = [None] * ACTORS
        self.members: dict[int, tuple[int, bool]] = {}
        self.follows: dict[int, tuple[int, bool]] = {}
        self.published: list[int] = []
        self.answered: list[Actor] = []
        self.late: list[Write] = []

    def run(self, awaitable: Any) -> Any:
        """Run one store call to its end."""
        # Not `Runner.run`, which takes SIGINT over each time: that was half of a model's time.
        return self.runner.get_loop().run_until_complete(awaitable)

    def records(self) -> list[Record]:
        """Return the whole stream, bucket by bucket along the chain; it must be dense."""
        found: list[Record] = []
        while (bucket := self.run(self.store.read_bucket(self.stream, len(found) + 1))) is not None:
            assert bucket.first_seq == len(found) + 1
            found += bucket.records()
            if not bucket.sealed:
                break
        assert [record.seq for record in found] == list(range(1, len(found) + 1))
        return found

    @initialize(events=st.integers(0, 5))
    def live_before(self, events: int) -> None:
        """Begin with some history, so that roll-over is near."""
        for number in range(events):
            self.call(0, USERS[0], joins=number % 2 == 0)
            while self.actors[0] is not None:
                self.step(0, "stored")

    @rule(place=st.integers(0, ACTORS - 1), user=st.sampled_from(USERS), joins=st.booleans())
    def call(self, place: int, user: User, joins: bool) -> None:
        """Call one replica; a call in hand there is cut off, as by a crash."""
        self.crash(place)
        self.commands += 1
        running = change(self.stream, self.now, self.ids, command_id=self.commands, limits=SMALL)
        self._begin(place, Actor(running, user, joins, self.commands))

    @rule(place=st.integers(0, ACTORS - 1))
    def sweep(self, place: int) -> None:
        """Let one replica's sweeper look after the stream."""
        self.crash(place)
        self._begin(place, Actor(settle(self.stream, self.now), None, joins=False, command_id=0))

    def _begin(self, place: int, actor: Actor) -> None:
        actor.effect = next(actor.running)
        self.actors[place] = actor

    @rule(place=st.integers(0, ACTORS - 1))
    def crash(self, place: int) -> None:
        """End a call where it is."""
        actor = self.actors[place]
        if actor is not None:
            actor.running.close()
        self.actors[place] = None

    @rule(
        place=st.integers(0, ACTORS - 1),
        steps=st.integers(1, 12),
        fate=st.sampled_from(("stored", "stored", "stored, unanswered", "lost", "late")),
    )
    def go_on(self, place: int, steps: int, fate: Fate) -> None:
        """Perform the next effects of a call; a commit among them meets this fate."""
        for _ in range(steps):
            self.step(place, fate)

    def step(self, place: int, fate: Fate) -> None:
        """Perform one effect of a call, if there is one in hand."""
        actor = self.actors[place]
        if actor is None:
            return
        try:
            result = self.perform(actor, fate)
            actor.effect = actor.running.send(result)
        except StarlingError:
            self.actors[place] = None
        except StopIteration as stop:
            self.actors[place] = None
            if actor.user is not None:
                self.answer(actor, stop.value)

    @precondition(lambda self: self.late)
    @rule()
    def arrive_late(self) -> None:
        """Let a write reach the store long after its writer gave up on it."""
        self.run(self.store.commit((self.late.pop(0),)))

    @rule(ms=st.integers(1, 2_000))
    def pass_time(self, ms: int) -> None:
        """Let time pass."""
        self.now += ms

    def perform(self, actor: Actor, fate: Fate) -> Any:
        """Perform one effect and return its result."""
        match actor.effect:
            case ReadHead(stream):
                return self.run(self.store.read_head(stream))
            case ReadBucket(stream, first_seq):
                return self.run(self.store.read_bucket(stream, first_seq))
            case Commit(writes):
                return self.commit(writes[0], fate)
            case RaiseHeads(heads):
                return self.run(self.store.raise_heads(heads))
            case Clean(stream, first_seq, next_seq):
                return self.run(self.store.clean(stream, first_seq, next_seq))
            case Project(_, records):
                return self.take_in(self.members, records)
            case Follow(_, records):
                assert all(record.seq in self.published for record in records), "followed before published"
                return self.take_in(self.follows, records)
            case Publish(events):
                self.published += [event.record.seq for event in events]
                return None
            case Decide(seq):
                actor.decided = self.decide(actor, seq)
                return actor.decided
        raise AssertionError(f"unexpected effect {actor.effect!r}")

    def commit(self, write: Write, fate: Fate) -> list[bool]:
        """Let a commit meet its fate; all but the first look the same to the writer."""
        if fate == "stored":
            return list(self.run(self.store.commit((write,))))
        if fate == "stored, unanswered":
            self.run(self.store.commit((write,)))
        if fate == "late":
            self.late.append(write)
        return [False]

    def take_in(self, state: dict[int, tuple[int, bool]], records: tuple[Record, ...]) -> None:
        """Apply events by seq, as projections do."""
        for record in records:
            match record.body:
                case MemberAdded(member):
                    change_of = (member.user.id, True)
                case MemberRemoved(user):
                    change_of = (user.id, False)
                case _:
                    continue
            if state.get(change_of[0], (0, False))[0] < record.seq:
                state[change_of[0]] = (record.seq, change_of[1])

    def decide(self, actor: Actor, seq: int) -> AnyBody | None:
        """Decide as the service does, on the projections; they must hold everything up to `seq`."""
        for user_id, (at, _) in replay(self.records(), seq).items():
            assert self.members[user_id][0] >= at, "decided on incomplete facts"
        assert actor.user is not None
        is_member = self.members.get(actor.user.id, (0, False))[1]
        if is_member == actor.joins:
            return None
        if actor.joins:
            return MemberAdded(Member(GROUP, actor.user, self.now))
        return MemberRemoved(actor.user)

    def dirty(self) -> list[tuple[str, int, int]]:
        """Return the stream's dirty buckets."""
        found = self.run(self.store.find_dirty(self.now + 1, 10_000))
        return [mark for mark in found if mark[0] == self.stream]

    def answer(self, actor: Actor, seq: int) -> None:
        """Take note of an answer: all that it was decided on is published by now."""
        assert set(range(1, seq + 1)) <= set(self.published), "answered before published"
        self.answered.append(actor)

    def teardown(self) -> None:
        """Let everybody crash and one sweeper come by; then everything must agree."""
        try:
            for place in range(ACTORS):
                self.crash(place)
            self.finish()
        finally:
            self.close_store()

    def finish(self) -> None:
        """Sweep until nothing is dirty, and compare."""
        for stream, first_seq, next_seq in self.dirty():
            self.sweep(0)
            while self.actors[0] is not None:
                self.step(0, "stored")
            self.run(self.store.clean(stream, first_seq, next_seq))
        assert self.dirty() == []
        records = self.records()
        first_times = list(dict.fromkeys(self.published))
        assert first_times == [record.seq for record in records], "published with a hole or out of order"
        assert self.members == self.follows == replay(records, len(records))
        commands = [record.command_id for record in records]
        assert len(commands) == len(set(commands)), "one call, two events"
        for actor in self.answered:
            assert (actor.command_id in commands) == (actor.decided is not None), "an answer without its event"
