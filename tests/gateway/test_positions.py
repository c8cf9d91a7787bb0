"""Positions: from what a dead node stored, every stream is placed for every `s` that a client may tell."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.core.positions import RESERVE, Changes, Followed, Moves, Placed, Trail

STREAMS = ("c:1", "u:2")
stream = st.sampled_from(STREAMS)
step = st.one_of(
    st.tuples(st.just("begin"), stream, st.integers(-3, 3)),
    st.tuples(st.just("end"), stream),
    st.tuples(st.just("apply"), stream, st.integers(1, 3), st.integers(0, 2)),
    st.tuples(st.just("apply_untold"), stream),
    st.tuples(st.just("tell"), stream, st.integers(0, 1)),
    st.tuples(st.just("dispatch"), st.integers(1, 3)),
    st.tuples(st.just("checkpoint"), st.sampled_from(["stored", "stored", "stored", "lost"]), st.booleans()),
)


class Life:
    """A node's life, and an oracle that remembers for each `s` how far each stream was."""

    def __init__(self, keep: int, most_rested: int) -> None:
        self.moves = Moves("node.1", keep=keep, most_rested=most_rested)
        self.stored = Trail("node.1", (), {})
        self.s = 0
        self.position: dict[str, int] = {}
        self.untold: dict[str, list[int]] = {}
        self.followed: set[str] = set()
        self.had: list[dict[str, int]] = [{}]
        """For each `s`: the position to which a client that has all up to it has each stream."""
        self.known: list[set[str]] = [set()]
        """For each `s`: the streams followed then."""
        self.checkpoints: dict[int, tuple[dict[str, int], set[str]]] = {}
        """For each checkpoint: the positions then, and the streams followed."""

    def told(self) -> dict[str, int]:
        """Return up to where all that was applied was told."""
        return {
            stream: min(seq, *(one - 1 for one in self.untold.get(stream, ())), seq)
            for stream, seq in self.position.items()
        }

    def pass_over(self, dispatches: int) -> None:
        """Raise `s`; only the last dispatch completes what was done just now."""
        had, known = self.had[self.s], self.known[self.s]
        for _ in range(dispatches):
            self.s += 1
            self.had.append(dict(had))
            self.known.append(set(known))
        self.had[self.s] = self.told()
        self.known[self.s] = set(self.followed)

    def begin(self, stream: str, delta: int) -> None:
        """Follow a stream, from a body that may be older than what was known before."""
        if stream in self.followed:
            return
        seq = max(self.position.get(stream, 5) + delta, 0)
        is_older = seq < self.position.get(stream, 0)
        self.moves.begin(stream, seq, self.s)
        self.position[stream] = seq
        self.followed.add(stream)
        self.pass_over(0)
        if is_older:
            for positions, _ in self.checkpoints.values():
                if stream in positions:
                    positions[stream] = min(positions[stream], seq)
            self.checkpoint("stored", always=True)  # see `begin`: before it nobody can know

    def end(self, stream: str) -> None:
        """Follow a stream no more."""
        if stream in self.followed:
            self.moves.end(stream)
            self.untold.pop(stream, None)
            self.followed.discard(stream)
            self.pass_over(0)

    def apply(self, stream: str, jump: int, dispatches: int) -> None:
        """Apply events of a stream, the last of them being told."""
        if stream in self.followed:
            self.position[stream] += jump
            self.moves.note(stream, self.position[stream])
            self.pass_over(dispatches)
            if dispatches == 1:
                self.moves.send(stream, self.position[stream], self.s)

    def apply_untold(self, stream: str) -> None:
        """Apply an event that is told later."""
        if stream in self.followed:
            self.position[stream] += 1
            self.untold.setdefault(stream, []).append(self.position[stream])
            self.moves.hold(stream, self.position[stream])
            self.moves.note(stream, self.position[stream])
            self.pass_over(0)

    def tell(self, stream: str, index: int) -> None:
        """Tell one of the events that were to be told later."""
        if index < len(self.untold.get(stream, ())):
            self.moves.release(stream, self.untold[stream].pop(index))
            self.pass_over(1)

    def dispatch(self, dispatches: int) -> None:
        """Dispatch what belongs to no stream."""
        self.pass_over(dispatches)

    def checkpoint(self, outcome: str, always: bool) -> None:
        """Make a checkpoint, and store it, or not."""
        changes = self.moves.take(self.s, always=always)
        if changes is None:
            return
        self._remember(changes.checkpoint.number)
        if outcome == "lost":
            return
        if changes.checkpoint.number == self.stored.number + 1:
            self.stored = self.stored.after(changes)
        else:
            self.stored = self.moves.take_all(self.s)
            self._remember(self.stored.number)

    def _remember(self, number: int) -> None:
        self.checkpoints[number] = self.told(), set(self.followed)

    def check(self) -> None:
        """Die here: hold all that can be asked of what is stored to what was."""
        assert self.stored.place(self.stored.ceiling + 1) is None
        for told_s in range(self.s + 1):
            before = [one for one in self.stored.checkpoints if one.s <= told_s]
            placed = self.stored.place(told_s)
            assert (placed is None) == (not before)
            if placed is not None:
                for stream in STREAMS:
                    self._check_stream(placed, told_s, stream, before[-1].number)

    def _check_stream(self, placed: Placed, told_s: int, stream: str, number: int) -> None:
        had = self.had[told_s].get(stream)
        positions, followed_then = self.checkpoints[number]
        followed = placed.position_of(stream)
        if stream in self.known[told_s] & followed_then:
            assert followed is not None, "a stream that a client had can't be placed"
            assert followed.since_s <= told_s
        if followed is None or followed.since_s > told_s:
            return
        assert had is not None, "a stream that nobody had is placed"
        assert followed.seq <= had, "an event is left out"
        if stream in positions:
            assert followed.seq >= positions[stream], "more is told again than since the checkpoint"


@given(st.lists(step, max_size=60), st.integers(2, 8), st.sampled_from([0, 1, 100]))
@settings(max_examples=1500)
def test_whatever_a_node_did_every_stream_is_placed(steps: list[tuple[str, ...]], keep: int, most_rested: int) -> None:
    """Nothing is left out for any `s` that a client may tell; only what came since the checkpoint is told again.

    The node may die at any moment, also with checkpoints that were not stored; streams may jump, end and begin again.
    """
    life = Life(keep, most_rested)
    for name, *arguments in steps:
        getattr(life, name)(*arguments)
    life.check()


def taken(moves: Moves, s: int) -> Changes:
    """Return the changes of the next checkpoint."""
    changes = moves.take(s, always=True)
    assert changes is not None
    return changes


def test_a_told_s_above_the_ceiling_is_not_placed() -> None:
    """Up to the ceiling a client may have heard more than was stored; above it nothing is of this node."""
    trail = Moves("node.1", keep=2).take_all(10)
    assert trail.ceiling == 10 + RESERVE
    assert [trail.place(s) is None for s in (9, 10, trail.ceiling, trail.ceiling + 1)] == [True, False, False, True]
    assert Trail("node.1", (), {}).place(0) is None


def test_a_place_is_at_a_checkpoint() -> None:
    """A stream that moved later stands where it was at the checkpoint, one that did not where the table has it."""
    moves = Moves("node.1", keep=10)
    moves.begin("c:1", 5, 0)
    moves.begin("c:2", 7, 0)
    moves.take(10)
    moves.note("c:1", 6)
    moves.note("c:1", 9)
    moves.take(20)
    moves.begin("c:3", 1, 25)
    moves.note("c:3", 2)
    trail = moves.take_all(30)
    assert positions(trail, 19) == (Followed(5, 0), Followed(7, 0), Followed(1, 25), None)
    assert positions(trail, 20) == (Followed(9, 0), Followed(7, 0), Followed(1, 25), None)
    assert positions(trail, 30) == (Followed(9, 0), Followed(7, 0), Followed(2, 25), None)


def test_what_is_stored_is_placed_to_the_event() -> None:
    """Between two checkpoints a channel stands behind the last event that was sent up to the told `s`."""
    moves = Moves("node.1", keep=10)
    moves.begin("c:1", 5, 0)
    moves.begin("c:2", 5, 0)
    moves.begin("u:1", 5, 0)
    moves.take(10)
    for stream, seq, s in (("c:1", 6, 11), ("c:2", 6, 12), ("c:1", 7, 13), ("u:1", 6, 14), ("c:1", 8, 15)):
        moves.note(stream, seq)
        moves.send(stream, seq, s)
    trail = moves.take_all(20)

    def seqs(told_s: int) -> list[int]:
        placed = trail.place(told_s)
        assert placed is not None
        return [found.seq for one in ("c:1", "c:2", "u:1") if (found := placed.position_of(one)) is not None]

    assert [seqs(s) for s in (10, 11, 12, 13, 14, 15, 19)] == [
        [5, 5, 5],
        [6, 5, 5],
        [6, 6, 5],
        [7, 6, 5],
        [7, 6, 5],
        [8, 6, 5],
        [8, 6, 5],
    ]
    assert seqs(20) == [8, 6, 6]


def test_an_event_of_several_dispatches_is_had_with_the_last() -> None:
    """Whoever is cut off between two of them is placed in front of the event, and gets it whole."""
    moves = Moves("node.1", keep=10)
    moves.begin("c:1", 5, 0)
    moves.take(10)
    for seq, s in ((6, 11), (6, 12), (6, 13), (7, 14)):
        moves.note("c:1", seq)
        moves.send("c:1", seq, s)
    trail = moves.take_all(20)
    assert [found.seq for s in range(10, 15) if (found := positions(trail, s)[0]) is not None] == [5, 5, 5, 6, 7]


def test_behind_what_was_not_sent_nothing_is_known() -> None:
    """A jump, or an event that nobody here was told, leaves a channel before it, whatever came behind."""
    moves = Moves("node.1", keep=10)
    moves.begin("c:1", 5, 0)
    moves.take(10)
    for seq, s in ((6, 11), (7, 0), (8, 12)):
        moves.note("c:1", seq)
        if s:
            moves.send("c:1", seq, s)
    trail = moves.take_all(20)
    assert [found.seq for s in (10, 11, 12, 20) if (found := positions(trail, s)[0]) is not None] == [5, 6, 6, 8]


def positions(trail: Trail, told_s: int) -> tuple[Followed | None, ...]:
    """Return where four channels stood."""
    placed = trail.place(told_s)
    assert placed is not None
    return tuple(placed.position_of(f"c:{number}") for number in (1, 2, 3, 4))


def test_an_ended_stream_rests_as_long_as_someone_may_have_had_it() -> None:
    """It leaves the table with the last checkpoint of before its end; if it begins before, it goes on."""
    moves = Moves("node.1", keep=3)
    moves.begin("c:1", 5, 0)
    moves.begin("c:2", 5, 0)
    moves.take(1)
    moves.end("c:1")
    moves.end("c:2")
    assert [taken(moves, s).gone for s in (2, 3)] == [frozenset(), frozenset()]
    moves.begin("c:2", 8, 3)
    assert taken(moves, 4).gone == {"c:1"}
    trail = moves.take_all(5)
    assert positions(trail, 3)[:2] == (None, Followed(5, 0))
    assert positions(trail, 4)[:2] == (None, Followed(8, 0))


@pytest.mark.parametrize("seq", [4, 5, 6, 7, 8])
def test_a_body_may_be_older_than_where_a_stream_rested(seq: int) -> None:
    """It stands where the body has it: whoever is told that body lacks what came after it."""
    moves = Moves("node.1", keep=10)
    moves.begin("c:1", 5, 0)
    moves.take(0)
    moves.note("c:1", 7)
    moves.end("c:1")
    moves.begin("c:1", seq, 1)
    assert positions(moves.take_all(2), 2)[0] == Followed(seq, 0)
    moves.note("c:1", 9)
    trail = moves.take_all(3)
    assert [positions(trail, s)[0] for s in (0, 2, 3)] == [Followed(min(seq, 5), 0), Followed(seq, 0), Followed(9, 0)]


def test_an_untold_event_is_in_front_of_every_checkpoint() -> None:
    """What is told later is told again by whoever goes on, if the node dies before; also when others are told first."""
    moves = Moves("node.1", keep=10)
    moves.begin("u:1", 5, 0)
    for seq in (6, 7, 8):
        moves.hold("u:1", seq)
        moves.note("u:1", seq)
    seqs = [taken(moves, 1).checkpoint.moved]
    for seq in (7, 6, 8):
        moves.release("u:1", seq)
        seqs.append(taken(moves, 2).checkpoint.moved)
    assert seqs == [{"u:1": (6, 5)}, {}, {"u:1": (6, 7)}, {"u:1": (8, 8)}]


def test_nothing_new_is_no_checkpoint() -> None:
    """A quiet node has nothing to store, unless it is asked to."""
    moves = Moves("node.1", keep=2)
    moves.begin("c:1", 5, 0)
    assert moves.take(0) is not None
    moves.note("c:1", 5)
    assert moves.take(0) is None
    assert moves.take(0, always=True) is not None
    assert moves.take(1) is not None


def test_a_counter_that_begins_anew_leaves_nothing_of_before() -> None:
    """When `s` began anew, no session of before is placed, and every stream as one followed from the start."""
    moves = Moves("node.1", keep=10)
    moves.begin("c:1", 5, 900)
    moves.begin("c:2", 5, 900)
    stored = moves.take_all(1000)
    moves.end("c:2")
    moves.note("c:1", 6)
    stored = stored.after(taken(moves, 3))
    assert [one.s for one in stored.checkpoints] == [3]
    assert stored.table == {"c:1": Followed(6, 0)}


def test_a_stream_that_is_not_followed_is_not_noted() -> None:
    """To note a stream that was never begun is a mistake of ours, which must not go unnoticed."""
    moves = Moves("node.1", keep=2)
    moves.note("c:1", 1)
    with pytest.raises(KeyError):
        moves.take(1)
