"""Retracing: today's state taken back event by event is what was so at each place."""

from __future__ import annotations

from random import Random

import pytest

from services.gateway.core.retracing import retrace
from shared.core.stream import group_stream
from tests.gateway.hub_model import NodeModel

STEPS = 40


def change_something(model: NodeModel, group_id: int, draw: Random) -> None:
    """Let something happen to a group that may have to do with sight."""
    ann, ben, cat = model.users
    channels = [one for one in model.channels.values() if one.group_id == group_id]
    match draw.randrange(8):
        case 0:
            model.create_channel(group_id)
        case 1 | 2:
            model.hide(draw.choice(channels), draw.choice((None, ben, cat)))
        case 3:
            model.promote(draw.choice((ben, cat)), group_id)
        case 4:
            model.change_role(group_id, gone=draw.random() < 0.3)
        case 5:
            model.delete_channel(draw.choice(channels))
        case 6:
            model.hand_over(group_id, draw.choice((ann, ben)))
        case _:
            (model.leave if cat.id in model.members[group_id] else model.join)(cat, group_id)


@pytest.mark.parametrize("seed", range(30))
def test_what_was_seen_at_each_place(seed: int) -> None:
    """From any place on: what was seen all along, what not any more, what is seen today; as it was noted then."""
    draw, model = Random(seed), NodeModel()  # noqa: S311 (a seed to find a life again)
    ann, ben, _ = model.users
    model.create_group(ann)
    (group_id,) = model.members
    model.join(ben, group_id)
    stream = group_stream(group_id)
    noted: dict[int, tuple[set[int], set[int]]] = {}
    for _ in range(STEPS):
        there = {one.id for one in model.channels.values() if one.group_id == group_id}
        seen = {one for one in there if ben.id in model.seeing(model.channels[one])}
        noted[len(model.streams[stream])] = there, seen
        change_something(model, group_id, draw)
    last = len(model.streams[stream])
    there = {one.id for one in model.channels.values() if one.group_id == group_id}
    now = {one for one in there if ben.id in model.seeing(model.channels[one])}
    noted[last] = there, now

    roster = model.hub.roster
    roster.put_user(model.session_view(ben), 0.0)
    view = model.group_view(group_id)
    assert view is not None
    roster.put_group(view, 0.0)
    for stood in noted:
        places = [noted[place] for place in noted if place >= stood]
        found = retrace(
            roster.groups[group_id],
            roster.channels,
            model.members[group_id][ben.id],
            [event.record.body for event in model.streams[stream][stood:]],
        )
        assert found.now == now
        assert found.lost == {
            one
            for place, (_, seen) in enumerate(places)
            for one in seen
            if any(one not in later for _, later in places[place:])
        }
        assert found.steady == {one for one in now if all(one in seen for there, seen in places if one in there)}
