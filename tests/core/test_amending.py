"""Amending: projecting changes again, in pieces or late, comes to the same as projecting them once."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shared.core.amending import Amendment, Patch, amendments_of
from shared.core.events import AnyBody
from shared.core.message_events import (
    MessageCreated,
    MessageDeleted,
    MessageEdited,
    MessagesDeleted,
    MessageStub,
    Target,
)
from shared.core.model import User
from shared.core.stream import Bucket, Record

STREAM = "c:1"
ANN = User(11, "ann")
MESSAGES = tuple(Record(seq, 100 + seq, MessageCreated(ANN, f"m{seq}"), seq, "", seq * 10, seq) for seq in (1, 2, 3))
BUCKET = Bucket(STREAM, 1, 4, messages=MESSAGES)


def target(index: int) -> Target:
    """Return a message of the bucket."""
    record = MESSAGES[index]
    return Target(record.id, record.seq, record.ordinal, ANN.id, 1, index)


bodies = st.one_of(
    st.builds(
        lambda index, text: MessageEdited(target(index), 101 + index, MessageCreated(ANN, text, edited_at=500)),
        st.integers(0, 2),
        st.sampled_from(("a", "b", "c")),
    ),
    st.builds(lambda index: MessageDeleted(target(index), ANN.id), st.integers(0, 2)),
    st.builds(
        lambda indexes: MessagesDeleted(tuple(map(target, indexes)), ANN.id),
        st.lists(st.integers(0, 2), min_size=1, unique=True),
    ),
)


def possible(changes: list[AnyBody]) -> list[Record]:
    """Return records of those changes that can be: nothing is done to what was deleted."""
    gone: set[int] = set()
    records: list[Record] = []
    for body in changes:
        match body:
            case MessageEdited(target=one) if one.index not in gone:
                pass
            case MessageDeleted(target=one) if one.index not in gone:
                gone.add(one.index)
            case MessagesDeleted(targets=targets) if gone.isdisjoint(one.index for one in targets):
                gone.update(one.index for one in targets)
            case _:
                continue
        records.append(Record(4 + len(records), 500, body))
    return records


def project(bucket: Bucket, records: list[Record]) -> Bucket:
    """Apply what these records come to."""
    for amendment in amendments_of(STREAM, records):
        bucket = amendment.apply(bucket)
    return bucket


@given(changes=st.lists(bodies, max_size=8), data=st.data())
def test_in_pieces_and_again_is_the_same_as_at_once(changes: list[AnyBody], data: st.DataObject) -> None:
    """Whoever takes over projects from an earlier place than its predecessor stopped at; latecomers change nothing."""
    records = possible(changes)
    one_by_one = BUCKET
    for record in records:
        one_by_one = project(one_by_one, [record])
    assert project(BUCKET, records) == one_by_one
    stopped = data.draw(st.integers(0, len(records)))
    began = data.draw(st.integers(0, stopped))
    bucket = project(project(BUCKET, records[:stopped]), records[began:])
    assert bucket == one_by_one
    late = data.draw(st.integers(0, len(records)))
    assert project(bucket, records[data.draw(st.integers(0, late)) : late]) == one_by_one


def test_a_stub_keeps_its_place() -> None:
    """A deleted message leaves who wrote it, its id, seq, ordinal and command; nothing of what it said."""
    written = msgspec.structs.replace(MESSAGES[1], nonce="n", command_id=77)
    bucket = msgspec.structs.replace(BUCKET, messages=(MESSAGES[0], written, MESSAGES[2]))
    stub = project(bucket, [Record(4, 500, MessageDeleted(target(1), ANN.id))]).messages[1]
    assert stub == msgspec.structs.replace(written, body=MessageStub(ANN.id))
    assert set(stub.keys) == {77, (ANN.id, "n")}


def test_one_update_for_each_bucket() -> None:
    """A deletion of messages in several buckets amends each, once."""
    elsewhere = msgspec.structs.replace(target(2), first_seq=9)
    edit = Record(19, 500, MessageEdited(elsewhere, 1, MessageCreated(ANN, "x")))
    deletion = Record(20, 500, MessagesDeleted((elsewhere, target(0)), ANN.id))
    stub = Patch(MessageStub(ANN.id))
    assert amendments_of(STREAM, [edit, deletion]) == [
        Amendment(STREAM, 9, 20, {2: stub}),
        Amendment(STREAM, 1, 20, {0: stub}),
    ]


def test_fields_are_set_in_what_stands_there() -> None:
    """A change of one field leaves the others; folded with a body it goes into it, and a stub takes nothing."""
    fields = Patch(fields={"edited_at": 7})
    assert fields.apply(MessageCreated(ANN, "a")) == MessageCreated(ANN, "a", edited_at=7)
    assert fields.apply(MessageStub(ANN.id)) == MessageStub(ANN.id)
    assert fields.then(Patch(fields={"content": "b"})) == Patch(fields={"edited_at": 7, "content": "b"})
    assert Patch(MessageCreated(ANN, "a")).then(fields) == Patch(MessageCreated(ANN, "a", edited_at=7))
    assert Patch(MessageStub(ANN.id)).then(fields) == Patch(MessageStub(ANN.id))
    assert fields.then(Patch(MessageStub(ANN.id))) == Patch(MessageStub(ANN.id))
