"""A model of rival sequencers over one stream store: every step can crash, lose its answer, or come late.

`Rivals` is a Hypothesis state machine. Each worker runs the real `sequence` generator; the machine performs
its effects one at a time against any `StreamStore`, and chooses what becomes of each commit. Used by
test_stream_model.py on memory and on MongoDB's wire.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from itertools import count, pairwise, product
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.history.core.deciding import Verdict
from services.history.core.judging import CheckAccess
from services.history.core.marks import Mark, PutMarks, ReadPins, ReadReactors
from services.history.core.sequencer import ReadClock, Settled, sequence
from services.history.core.shard import Shard
from services.history.marks import MarkStore
from services.history.memory_marks import MemoryMarks
from services.history.pages import Pages
from shared.core.amending import Amendment
from shared.core.commands import (
    COMMAND_LIFETIME_MS,
    AddReaction,
    AnyCommand,
    ClearReactions,
    DeleteMessage,
    DeleteMessages,
    EditMessage,
    OpenDirect,
    PinMessage,
    RemoveReaction,
    Reply,
    SendMessage,
    UnpinMessage,
)
from shared.core.ids import MAX_ID, IdSource, first_id_at
from shared.core.message_events import MessageCreated, MessageStub
from shared.core.model import Channel, ChannelType, User
from shared.core.permissions import ALL, DEFAULT
from shared.core.stream import Bucket, Event, Head, Limits, Record, Write, channel_stream, owner_of
from shared.core.wire.dispatches import dispatch_of
from shared.core.writing import (
    DEDUPE_MS,
    Amend,
    Commit,
    FindBucket,
    Publish,
    RaiseHeads,
    ReadBucket,
    ReadHead,
    Together,
)
from shared.memory_streams import MemoryStreams
from shared.streams import StreamStore
from tests.history.plain_model import Plain, Shown, shown

SMALL = Limits(messages=3, changes=2, size_bytes=1500, window_ms=24 * 3600 * 1000)
START_MS = 1_700_000_000_000
SKEW_MS = 2_000
_programs = count(1)
GROUP = 9
AUTHORS = tuple(User(id=number, username=f"user{number}") for number in (1, 2))

EMOJI = ("👍", "❤️")
MARKING = ("react", "withdraw", "clear", "clear all", "pin", "unpin")

Fate = Literal["stored", "stored, unanswered", "lost", "late"]


@dataclass
class Worker:
    """One rival: what it believes, the batch in its hands, and the effect it waits for."""

    ids: IdSource
    skew_ms: int
    shard: Shard = field(default_factory=lambda: Shard(SMALL))
    batch: tuple[AnyCommand, ...] = ()
    running: Generator[Any, Any, Settled] | None = None
    effect: Any = None

    def drop(self) -> None:
        """Lose the batch and all knowledge, as a crash or a failed effect does."""
        if self.running is not None:
            self.running.close()
        self.running, self.effect, self.batch = None, None, ()
        self.shard.forget()


class Rivals(RuleBasedStateMachine):
    """Two workers that both believe to own the shard, one log, one store."""

    def open_store(self) -> tuple[asyncio.Runner, StreamStore]:
        """Return a store and the runner of its calls; subclasses choose which."""
        return asyncio.Runner(), MemoryStreams()

    def open_marks(self) -> MarkStore:
        """Return a mark store; subclasses choose which."""
        return MemoryMarks()

    def __init__(self) -> None:
        super().__init__()
        self.runner, self.store = self.open_store()
        self.marks = self.open_marks()
        self.pages = Pages(self.store)
        first = 100 * next(_programs)  # stores outlive programs: each has channels of its own
        self.channels = (first + 1, first + 2)
        self.direct = first + 3
        self.now = START_MS
        self.commands = 0
        self.log: list[AnyCommand] = []
        self.late: list[Write] = []
        self.late_amendments: list[Amendment] = []
        self.late_marks: list[Mark] = []
        self.plain: dict[str, Plain] = defaultdict(Plain)
        self.published: dict[str, set[int]] = defaultdict(set)
        self.replies: list[tuple[AnyCommand, Reply]] = []
        self.workers = (Worker(IdSource(1), 0), Worker(IdSource(2), 0))

    @initialize(skew=st.integers(-SKEW_MS, SKEW_MS))
    def skew_clocks(self, skew: int) -> None:
        """Let one worker's clock differ."""
        self.workers[1].skew_ms = skew

    def run(self, awaitable: Any) -> Any:
        """Run one store call to its end."""
        # Not `Runner.run`, which takes SIGINT over each time: that was half of a model's time.
        return self.runner.get_loop().run_until_complete(awaitable)

    # what clients and the broker do

    @rule(
        which_channel=st.integers(0, 1),
        author=st.sampled_from(AUTHORS),
        nonce=st.sampled_from(("", "a", "b", "c")),
        group_seq=st.integers(1, 3),
        refusal=st.sampled_from(("", "", "", "MissingPermissions")),
        length=st.sampled_from((1, 400)),
    )
    def send(self, which_channel: int, author: User, nonce: str, group_seq: int, refusal: str, length: int) -> None:
        """Send as a client; a used nonce is a retry."""
        self.commands += 1
        self.log.append(
            SendMessage(
                command_id=self.commands,
                channel_id=self.channels[which_channel],
                reply_to="node",
                expires_at=self.now + COMMAND_LIFETIME_MS,
                author=author,
                content=f"{self.commands} " + "x" * length,
                nonce=nonce,
                group_id=GROUP,
                group_seq=group_seq,
                refusal=refusal if nonce else "",
            )
        )

    @rule(
        which_channel=st.integers(0, 1),
        kind=st.sampled_from(("edit", "edit", "delete", "bulk", *MARKING)),
        emoji=st.sampled_from(EMOJI),
        user=st.sampled_from(AUTHORS),
        places=st.lists(st.integers(-1, 12), min_size=1, max_size=4, unique=True),
        permissions=st.sampled_from((ALL, ALL, DEFAULT, 0)),
        group_seq=st.integers(1, 3),
    )
    def change(
        self,
        which_channel: int,
        kind: str,
        emoji: str,
        user: User,
        places: list[int],
        permissions: int,
        group_seq: int,
    ) -> None:
        """Ask for a change of messages, the newest first; of one that never was, and of deleted ones, too."""
        self.commands += 1
        channel_id = self.channels[which_channel]
        ids = [*self.plain[channel_stream(channel_id)].ids[::-1], first_id_at(self.now) + 5]
        message_ids = tuple({ids[place % len(ids)] for place in places})
        common: dict[str, Any] = {
            "command_id": self.commands,
            "channel_id": channel_id,
            "reply_to": "node",
            "expires_at": self.now + COMMAND_LIFETIME_MS,
            "user_id": user.id,
            "permissions": permissions,
            "group_id": GROUP,
            "group_seq": group_seq,
        }
        if kind == "edit":
            self.log.append(EditMessage(**common, message_id=message_ids[0], content=f"edit {self.commands}"))
        elif kind == "delete":
            self.log.append(DeleteMessage(**common, message_id=message_ids[0]))
        elif kind == "bulk":
            self.log.append(DeleteMessages(**common, message_ids=message_ids))
        else:
            common["message_id"] = message_ids[0]
            self.log.append(self._mark(kind, emoji, user, common))

    @staticmethod
    def _mark(kind: str, emoji: str, user: User, common: dict[str, Any]) -> AnyCommand:
        match kind:
            case "react":
                return AddReaction(**common, emoji=emoji, user=user)
            case "withdraw":
                return RemoveReaction(**common, emoji=emoji, of=user.id)
            case "pin":
                return PinMessage(**common)
            case "unpin":
                return UnpinMessage(**common)
            case _:
                return ClearReactions(**common, emoji=emoji if kind == "clear" else "")

    @rule()
    def open_direct(self) -> None:
        """Ask for a direct channel, perhaps once more."""
        channel = Channel(self.direct, ChannelType.DIRECT, recipients=AUTHORS)
        self.log.append(
            OpenDirect(
                command_id=self.direct + 1_000_000_000,
                channel_id=self.direct,
                reply_to="groups",
                expires_at=self.now + COMMAND_LIFETIME_MS,
                channel=channel,
            )
        )

    @precondition(lambda self: self.log)
    @rule(index=st.integers(0, 50))
    def redeliver(self, index: int) -> None:
        """Deliver a command twice."""
        self.log.append(self.log[index % len(self.log)])

    @rule(ms=st.sampled_from((1, 1, 500, 500, 500, 30_000, COMMAND_LIFETIME_MS + 1, DEDUPE_MS, SMALL.window_ms)))
    def wait(self, ms: int) -> None:
        """Time passes."""
        self.now += ms

    # what workers do

    @rule(which=st.integers(0, 1), count=st.integers(1, 6))
    def take(self, which: int, count: int) -> None:
        """Give a worker the oldest unacked commands, whoever else holds them too."""
        worker = self.workers[which]
        if worker.running is None and self.log:
            worker.batch = tuple(self.log[:count])
            now = self.now + worker.skew_ms
            worker.shard.heard_at = now
            worker.running = sequence(worker.shard, worker.batch, now, worker.ids)
            self._go(worker, None)

    @rule(
        which=st.integers(0, 1),
        fates=st.lists(
            st.sampled_from(("stored", "stored", "stored", "stored, unanswered", "lost", "late")),
            min_size=3,
            max_size=3,
        ),
    )
    def step(self, which: int, fates: list[Fate]) -> None:
        """One effect of a worker happens."""
        worker = self.workers[which]
        if worker.running is not None:
            self._go(worker, self._perform(worker.effect, fates))

    @rule(which=st.integers(0, 1), steps=st.integers(2, 12))
    def hurry(self, which: int, steps: int) -> None:
        """Let a worker get on undisturbed for a while."""
        for _ in range(steps):
            self.step(which, ["stored"] * 3)

    @rule(which=st.integers(0, 1), count=st.integers(1, 8))
    def work(self, which: int, count: int) -> None:
        """Let a worker settle a whole batch undisturbed."""
        self.take(which, count)
        self._to_end(self.workers[which])

    @rule(
        which=st.integers(0, 1),
        which_channel=st.integers(0, 1),
        nonces=st.lists(st.sampled_from(("", "d", "e", "f")), min_size=2, max_size=5),
    )
    def talk(self, which: int, which_channel: int, nonces: list[str]) -> None:
        """Let one author say several things, each stored before the next is said: buckets fill and roll over."""
        for nonce in nonces:
            self.send(which_channel, AUTHORS[0], nonce, 4, "", 1)
            self.take(which, len(self.log))
            self._to_end(self.workers[which])

    @rule(
        which=st.integers(0, 1),
        which_channel=st.integers(0, 1),
        changes=st.lists(
            st.tuples(
                st.sampled_from(("edit", "edit", "edit", "delete", "bulk", "react", *MARKING)),
                st.sampled_from(EMOJI),
                st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True),
            ),
            min_size=1,
            max_size=4,
        ),
        user=st.sampled_from(AUTHORS),
        stop_at=st.sampled_from((None, None, Amend, Amend, PutMarks, RaiseHeads, Publish)),
        is_sent=st.booleans(),
    )
    def meddle(
        self,
        which: int,
        which_channel: int,
        changes: list[tuple[str, str, list[int]]],
        user: User,
        stop_at: type | None,
        *,
        is_sent: bool,
    ) -> None:
        """Let one user change what is newest; the worker dies before a step of that, or gets to its end."""
        for kind, emoji, places in changes:
            self.change(which_channel, kind, emoji, user, places, ALL, 4)
        self.take(which, len(self.log))
        worker = self.workers[which]
        while worker.running is not None:
            if stop_at is not None and any(isinstance(effect, stop_at) for effect in parts_of(worker.effect)):
                self.crash(which, is_sent=is_sent)
            else:
                self._go(worker, self._perform(worker.effect, ["stored"] * 3))

    @rule(which=st.integers(0, 1), is_sent=st.booleans())
    def crash(self, which: int, *, is_sent: bool) -> None:
        """Kill a worker between two of its steps; what it was about to project may be on its way."""
        worker = self.workers[which]
        for effect in parts_of(worker.effect) if is_sent else ():
            if isinstance(effect, Amend):
                self.late_amendments += effect.amendments
            if isinstance(effect, PutMarks):
                self.late_marks += effect.marks
        worker.drop()

    @rule(which=st.integers(0, 1), seq=st.integers(1, 4))
    def hear_of_change(self, which: int, seq: int) -> None:
        """Tell a worker that the group's facts moved on: older permissions are looked at again."""
        self.workers[which].shard.note_group_seq(GROUP, seq)

    @precondition(lambda self: self.late)
    @rule(index=st.integers(0, 10))
    def land(self, index: int) -> None:
        """Let a write that its worker gave up for lost reach the store after all."""
        self._store(self.late.pop(index % len(self.late)))

    @precondition(lambda self: self.late_amendments)
    @rule(index=st.integers(0, 10), is_repeated=st.booleans())
    def land_amendment(self, index: int, *, is_repeated: bool) -> None:
        """Let what a dead worker projected reach the store late, perhaps twice."""
        amendment = self.late_amendments[index % len(self.late_amendments)]
        self.run(self.store.amend((amendment,)))
        if not is_repeated:
            self.late_amendments.remove(amendment)

    @precondition(lambda self: self.late_marks)
    @rule(index=st.integers(0, 10))
    def land_mark(self, index: int) -> None:
        """Let a mark that a dead worker put reach the store late."""
        self.run(self.marks.put((self.late_marks.pop(index % len(self.late_marks)),)))

    # what readers do

    @rule(
        which_channel=st.integers(0, 1),
        place=st.integers(0, 20),
        limit=st.integers(1, 8),
        way=st.sampled_from(("before", "after", "around", "latest", "events", "one")),
        is_old=st.booleans(),
    )
    def read(self, which_channel: int, place: int, limit: int, way: str, *, is_old: bool) -> None:
        """Read a page, or events: it is what stands in the list of all that is there, whatever its buckets are.

        A reader that keeps buckets since long ago may lack what was projected but is in no head, so told to nobody.
        """
        channel = self.channels[which_channel]
        stream = channel_stream(channel)
        pages = self.pages if is_old else Pages(self.store)
        views = list(self._views(stream)) if is_old else [self._shown(stream)]
        ids = [*self.plain[stream].ids[::-1], 1]
        cursor = ids[place % len(ids)]
        half = limit // 2
        match way:
            case "before":
                page = self.run(pages.before(channel, cursor, limit))
                expected = [[one for one in view if one.id < cursor][:limit] for view in views]
            case "after":
                page = self.run(pages.after(channel, cursor, limit))
                expected = [[one for one in view if one.id > cursor][-limit:] for view in views]
            case "around":
                page = self.run(pages.around(channel, cursor, limit))
                expected = [
                    [one for one in view if one.id >= cursor][-(limit - half) :]
                    + [one for one in view if one.id < cursor][:half]
                    for view in views
                ]
            case "latest":
                page = self.run(pages.before(channel, MAX_ID, limit))
                expected = [view[:limit] for view in views]
            case "one":
                found = self.run(pages.find(channel, cursor))
                page = () if found is None else (found,)
                expected = [[one for one in view if one.id == cursor] for view in views]
            case "events":
                self._check_events(stream, place, limit)
                return
        assert [shown(record) for record in page] in expected

    @rule(which_channel=st.integers(0, 1))
    def read_all(self, which_channel: int) -> None:
        """Let the reader that keeps buckets read everything: the next time it knows them all."""
        channel = self.channels[which_channel]
        page = self.run(self.pages.before(channel, MAX_ID, 100))
        assert [shown(record) for record in page] in list(self._views(channel_stream(channel)))

    def _check_events(self, stream: str, after_seq: int, limit: int) -> None:
        page = self.run(Pages(self.store).events(owner_of(stream), after_seq, limit))
        last = self.run(self.store.read_head(stream)).seq
        assert [event.record.seq for event in page.events] == list(range(after_seq + 1, last + 1))[:limit]
        assert page.has_more == (last > after_seq + limit)
        there = {one.id: one for one in self._shown(stream)}
        for event in page.events:
            t, d = dispatch_of(event)
            stored = self.plain[stream].events[event.record.seq]
            if not stored.id:
                assert event.record == stored
            elif (today := there.get(stored.id)) is not None:
                assert d is not None
                assert (t, d["content"]) == ("MESSAGE_CREATE", today.content)
            else:
                assert (t, d) == (None, None)

    def _go(self, worker: Worker, result: Any) -> None:
        assert worker.running is not None
        try:
            worker.effect = worker.running.send(result)
        except StopIteration as stop:
            self._finish(worker, stop.value)

    def _to_end(self, worker: Worker) -> None:
        while worker.running is not None:
            self._go(worker, self._perform(worker.effect, ["stored"] * 3))

    def _finish(self, worker: Worker, settled: Settled) -> None:
        for index, command in enumerate(worker.batch):
            if index in settled.given_back:
                continue
            self.replies.append((command, settled.replies[index]))
            if command in self.log:
                self.log.remove(command)
        if settled.given_back:
            worker.drop()
        worker.running, worker.effect, worker.batch = None, None, ()

    def _perform(self, effect: Any, fates: list[Fate]) -> Any:
        match effect:
            case ReadHead(stream):
                return self.run(self.store.read_head(stream))
            case ReadBucket(stream, first_seq):
                return self.run(self.store.read_bucket(stream, first_seq))
            case FindBucket(stream, message_id):
                return self.run(self.store.find_bucket_of_id(stream, message_id))
            case Amend(amendments):
                return self.run(self.store.amend(amendments))
            case RaiseHeads(heads):
                return self.run(self.store.raise_heads(heads))
            case Together(effects):
                return [self._perform(inner, fates) for inner in effects]
            case Commit(writes):
                return [self._commit(write, fate) for write, fate in zip(writes, fates, strict=False)]
            case Publish(events):
                for event in events:
                    self._publish(event)
                return None
            case ReadClock():
                return self.now
            case ReadReactors(keys):
                return self.run(self.marks.read_epochs(keys))
            case ReadPins(channel_ids):
                return [self.run(self.marks.list_pins(one, MAX_ID, 100)) for one in channel_ids]
            case PutMarks(marks):
                return self.run(self.marks.put(marks))
            case CheckAccess(pairs):
                return [Verdict(0, "MissingAccess") if user == AUTHORS[1].id else Verdict(ALL) for _, user in pairs]
        raise AssertionError(effect)

    def _commit(self, write: Write, fate: Fate) -> bool:
        if fate == "late":
            self.late.append(write)
        if fate in {"lost", "late"}:
            return False
        stored = self._store(write)
        return stored if fate == "stored" else False

    def _store(self, write: Write) -> bool:
        (stored,) = self.run(self.store.commit((write,)))
        if stored:
            self.plain[write.after.stream].store(write.records)
        return bool(stored)

    def _publish(self, event: Event) -> None:
        """Persist, then publish: what goes out is stored as it goes out, and goes to the right members."""
        stored = self.plain[event.stream].events[event.record.seq]
        if stored.id:  # as it was written, or as it stood at any time since
            assert (event.record.id, event.record.ordinal) == (stored.id, stored.ordinal), "a ghost was published"
        else:
            assert event.record == stored, "a ghost was published"
        if event.stream == channel_stream(self.direct):
            assert event.to == tuple(user.id for user in AUTHORS)
        else:
            assert event.group_id == GROUP
        self.published[event.stream].add(event.record.seq)

    # what must hold

    def _chain(self, stream: str) -> list[Bucket]:
        chain: list[Bucket] = []
        first_seq = 1
        while (bucket := self.run(self.store.read_bucket(stream, first_seq))) is not None:
            chain.append(bucket)
            if not bucket.sealed:
                break
            first_seq = bucket.next_seq
        return chain

    @invariant()
    def laws_hold(self) -> None:
        """See that all that is stored keeps the promises, and all that was told of it; each stream is read once."""
        stored = {}
        for channel in (*self.channels, self.direct):
            stream = channel_stream(channel)
            stored[stream] = self.run(self.store.read_head(stream)), self._chain(stream)
            self._check_stream(stream, stored[stream][1])
        for channel in self.channels:
            self._check_projections(*stored[channel_stream(channel)])
        self._check_replies(stored)

    def _check_stream(self, stream: str, chain: list[Bucket]) -> None:
        """Seq dense, ids and ordinals ascending, chains linked, buckets within their limits, nothing twice."""
        records = records_of(chain)
        assert [record.seq for record in records] == list(range(1, len(records) + 1))
        assert len(records) == len(self.plain[stream].events)
        messages = [record for record in records if isinstance(record.body, MessageCreated | MessageStub)]
        ids = [record.id for record in messages]
        assert ids == sorted(set(ids))
        assert [record.ordinal for record in messages] == list(range(1, len(messages) + 1))
        for before, after in pairwise(chain):
            assert before.sealed
            assert after.prev == before.first_seq
            assert after.first_seq == before.next_seq
        for bucket in chain:
            assert len(bucket.messages) <= SMALL.messages
            assert len(bucket.changes) <= SMALL.changes
            windows = {record.id // first_id_at_window() for record in bucket.messages}
            assert len(windows) <= 1
        self._check_nothing_twice([record for _, record in sorted(self.plain[stream].events.items())])

    def _shown(self, stream: str) -> list[Shown]:
        """Return all messages up to the head, newest first: each as the projection of its bucket tells."""
        head = self.run(self.store.read_head(stream))
        return self._view(head.seq, [(bucket, bucket.applied_seq) for bucket in self._chain(stream)])

    def _views(self, stream: str) -> Iterator[list[Shown]]:
        """Yield the same, with each bucket as it is now or was at any time since the last change that a head tells."""
        head, chain = self.run(self.store.read_head(stream)), self._chain(stream)
        changes = [seq for seq, record in self.plain[stream].events.items() if not record.id]
        choices = [[head.changed, *(one for one in changes if head.changed < one <= b.applied_seq)] for b in chain]
        for chosen in product(*choices):
            yield self._view(head.seq, list(zip(chain, chosen, strict=True)))

    def _view(self, upto: int, buckets: list[tuple[Bucket, int]]) -> list[Shown]:
        found: list[Shown] = []
        for bucket, applied in buckets:
            there = self.plain[bucket.stream].messages(applied)
            found += [there[one.id] for one in bucket.messages if one.id in there and one.seq <= upto]
        return found[::-1]

    def _check_projections(self, head: Head, chain: list[Bucket]) -> None:
        """Hold messages to all changes up to their bucket's `applied_seq`, and to those that a head tells of."""
        for bucket in chain:
            plain = self.plain[bucket.stream]
            there = plain.messages(bucket.applied_seq)
            ids = [record.id for record in bucket.messages]
            assert [shown(record) for record in bucket.messages] == [there.get(one) for one in ids]
            assert plain.last_change(ids, head.projected) <= bucket.applied_seq

    def _check_nothing_twice(self, records: list[Record]) -> None:
        stored: dict[Any, int] = {}
        for record in records:
            for key in record.keys:
                if key in stored:
                    assert record.at - stored[key] >= DEDUPE_MS - 2 * SKEW_MS, f"{key} is stored twice"
                stored[key] = record.at

    def _check_replies(self, stored: dict[str, tuple[Head, list[Bucket]]]) -> None:
        """Each positive reply tells a stored event that was published first; what a gateway refused is not stored.

        (A refusal by a worker is no commit, so a rival that has not heard of the change may store the command.)
        """
        by_stream = {
            stream: {record.seq: record for record in records_of(chain)} for stream, (_, chain) in stored.items()
        }
        for command, reply in self.replies:
            stream = channel_stream(command.channel_id)
            if reply.error:
                if reply.error == "UnknownMessage" and isinstance(command, EditMessage | DeleteMessage):
                    assert command.message_id not in self.plain[stream].messages(), "it is there"
                if isinstance(command, SendMessage) and command.refusal:
                    assert all(record.command_id != command.command_id for record in by_stream[stream].values())
                continue
            if not reply.seq:
                kinds = DeleteMessages | AddReaction | RemoveReaction | ClearReactions | PinMessage | UnpinMessage
                assert isinstance(command, kinds), "nothing to change"
                continue
            record = by_stream[stream][reply.seq]
            assert record.id == reply.id
            assert reply.seq in self.published[stream]
            assert reply.seq <= stored[stream][0].projected
            if isinstance(command, SendMessage):
                written = self.plain[stream].events[reply.seq].body
                assert isinstance(written, MessageCreated)
                assert written.author == command.author
                assert record.command_id == command.command_id or (command.nonce and record.nonce == command.nonce)

    def teardown(self) -> None:
        """At last an undisturbed worker settles everything: nothing is left, all is published, heads are right.

        One more message in each channel is what brings out an event whose write landed when all had given it up.
        """
        try:
            for worker in self.workers:
                worker.drop()
            for which_channel in range(len(self.channels)):
                self.send(which_channel, AUTHORS[0], "", 4, "", 1)
            self.open_direct()
            survivor = Worker(IdSource(3), 0, batch=tuple(self.log))
            survivor.shard.heard_at = self.now
            survivor.running = sequence(survivor.shard, survivor.batch, self.now, survivor.ids)
            self._go(survivor, None)
            self._to_end(survivor)
            assert not self.log, "an undisturbed worker gave commands back"
            self.laws_hold()
            for channel in (*self.channels, self.direct):
                stream = channel_stream(channel)
                seqs = {record.seq for record in records_of(self._chain(stream))}
                assert self.published[stream] == seqs
                assert self.run(self.store.read_head(stream)).seq == len(seqs)
                self._check_marks(stream)
        finally:
            self.close_store()

    def _check_marks(self, stream: str) -> None:
        """Who reacted is listed, and is as many as the message counts; what is pinned is listed, and nothing else."""
        pins = self.run(self.marks.list_pins(owner_of(stream), MAX_ID, 100))
        messages = self.plain[stream].messages()
        assert {pin.message_id for pin in pins} == {one.id for one in messages.values() if one.pinned}
        reactors = self.plain[stream].reactors()
        for record in (record for bucket in self._chain(stream) for record in bucket.messages):
            if not isinstance(record.body, MessageCreated):
                continue
            told = {one.emoji: one for one in record.body.reactions}
            for emoji in EMOJI:
                users = reactors.get(record.id, {}).get(emoji, frozenset())
                if emoji not in told:
                    assert not users
                    continue
                epoch = told[emoji].epoch
                listed = self.run(self.marks.list_reactors(record.id, emoji, epoch, 0, 100))
                assert {user.id for user in listed} == users
                assert told[emoji].count == len(users)
                for user in AUTHORS:
                    own = self.run(self.marks.list_own(user.id, [record.id], [epoch]))
                    assert bool(own) == (user.id in users)

    def close_store(self) -> None:
        """End what `open_store` began."""
        self.runner.close()


def records_of(chain: list[Bucket]) -> list[Record]:
    """Return all that a stream's buckets hold."""
    return [record for bucket in chain for record in bucket.records()]


def parts_of(effect: Any) -> tuple[Any, ...]:
    """Return the effects that are performed side by side."""
    return effect.effects if isinstance(effect, Together) else (effect,)


def first_id_at_window() -> int:
    """Return how many ids a window of `SMALL` spans."""
    return first_id_at(SMALL.window_ms) - first_id_at(0)
