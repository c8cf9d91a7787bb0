"""Changes of group and user streams under rivals and crashes, and step by step where it matters."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings

from shared.core.change import ATTEMPTS, Clean, Decide, Follow, Project, change
from shared.core.errors import Unavailable
from shared.core.group_errors import UnknownGroup
from shared.core.group_events import MemberAdded
from shared.core.ids import IdSource
from shared.core.model import Member, User
from shared.core.stream import Bucket, Head, Record
from shared.core.writing import Commit, Publish, RaiseHeads, ReadBucket, ReadHead
from tests.core.change_model import Replicas

NOW = 1_700_000_000_000
JOINED = MemberAdded(Member(9, User(1, "ann"), NOW))


# Seq dense, nothing twice, decided on complete facts, published in order and before the answer, all swept in the end.
TestReplicas = Replicas.TestCase
TestReplicas.settings = settings(max_examples=150, stateful_step_count=40)


def begin(command_id: int = 5) -> Any:
    """Return a change, about to read its stream."""
    return change("g:9", NOW, IdSource(1), command_id=command_id)


def test_the_order_of_steps() -> None:
    """Rule 3: commit, project, raise the head, publish, follow, raise `published`; then the answer."""
    running = begin()
    assert next(running) == ReadHead("g:9")
    assert running.send(Head("g:9")) == ReadBucket("g:9", 1)
    assert running.send(None) == Decide(0)
    commit = running.send(JOINED)
    assert isinstance(commit, Commit)
    assert commit.writes[0].dirty_at == NOW
    project = running.send([True])
    assert isinstance(project, Project)
    assert [record.body for record in project.records] == [JOINED]
    assert running.send(None) == RaiseHeads((Head("g:9", seq=1, tail=1, projected=1, changed=1),))
    publish = running.send(None)
    assert isinstance(publish, Publish)
    assert publish.events[0].group_id == 9
    assert isinstance(running.send(None), Follow)
    assert running.send(None) == RaiseHeads((Head("g:9", published=1),))
    assert running.send(None) == Clean("g:9", 1, 2)
    with pytest.raises(StopIteration) as end:
        running.send(None)
    assert end.value.value == 1


def test_a_refusal_writes_nothing() -> None:
    """What the decision raises comes out, before any commit."""
    running = begin()
    next(running)
    running.send(Head("g:9"))
    assert running.send(None) == Decide(0)
    with pytest.raises(UnknownGroup):
        running.throw(UnknownGroup())


def test_a_repeat_waits_for_what_it_was_decided_on() -> None:
    """A change that changes nothing publishes what another left unpublished before it answers (rule 7)."""
    record = Record(1, NOW, JOINED, command_id=4)
    running = begin()
    next(running)
    running.send(Head("g:9", seq=1, tail=1, projected=1))
    assert isinstance(running.send(Bucket("g:9", 1, 2, changes=(record,))), RaiseHeads)
    assert isinstance(running.send(None), Publish)
    assert isinstance(running.send(None), Follow)
    assert isinstance(running.send(None), RaiseHeads)
    assert isinstance(running.send(None), Clean)
    assert running.send(None) == Decide(1)
    with pytest.raises(StopIteration) as end:
        running.send(None)
    assert end.value.value == 1


def test_a_change_costs_the_same_however_much_happened_lately() -> None:
    """Only the tail is read, though the buckets before it are of the last minutes; after a lost commit, back to it."""
    running = begin(command_id=4)
    next(running)
    head = Head("g:9", seq=2, tail=2, projected=2, published=2)
    tail = Bucket("g:9", 2, 3, prev=1, changes=(Record(2, NOW, JOINED, command_id=3),))
    assert running.send(head) == ReadBucket("g:9", 2)
    assert running.send(tail) == Decide(2)
    assert isinstance(running.send(JOINED), Commit)
    # It was stored all the same, sealed the bucket, and another came behind it.
    ours = Record(3, NOW, JOINED, command_id=4)
    assert running.send([False]) == ReadHead("g:9")
    last = Record(4, NOW, JOINED, command_id=5)
    running.send(Head("g:9", seq=4, tail=4, projected=4, published=4))
    assert running.send(Bucket("g:9", 4, 5, prev=3, changes=(last,))) == ReadBucket("g:9", 3)
    with pytest.raises(StopIteration) as end:
        running.send(Bucket("g:9", 3, 4, prev=2, changes=(ours,), sealed=True))
    assert end.value.value == 4


def test_an_unanswered_commit_is_recognised() -> None:
    """After a commit whose outcome is unknown the change finds its own event and does not decide again."""
    running = begin(command_id=4)
    next(running)
    running.send(Head("g:9"))
    running.send(None)
    running.send(JOINED)
    assert running.send([False]) == ReadHead("g:9")
    running.send(Head("g:9"))
    record = Record(1, NOW, JOINED, command_id=4)
    running.send(Bucket("g:9", 1, 2, changes=(record,)))
    rest = list(running)
    assert rest
    assert not any(isinstance(effect, Decide | Commit) for effect in rest)


def test_who_always_loses_is_told_to_retry() -> None:
    """After `ATTEMPTS` lost commits the caller gets a retryable error instead of waiting for ever."""
    running = begin()
    next(running)
    for attempt in range(ATTEMPTS):
        running.send(Head("g:9"))
        running.send(None)
        running.send(JOINED)
        if attempt < ATTEMPTS - 1:
            assert running.send([False]) == ReadHead("g:9")
    with pytest.raises(Unavailable):
        running.send([False])
