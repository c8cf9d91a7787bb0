"""Names and keys on the broker: they outlive releases, so they are promises."""

from __future__ import annotations

import pytest

from shared.topology import Binding, Exchange, Queue, Topology


def test_names_begin_with_the_prefix() -> None:
    """Everything that a topology names carries its prefix, so two of them share nothing."""
    topology = Topology("one")
    names = [
        topology.events.name,
        topology.log.name,
        topology.rpc.name,
        topology.invalidate.name,
        topology.log_queue(3).name,
        topology.dead_queue().name,
        topology.rpc_queue("groups").name,
        topology.node_queue("n1").name,
        topology.invalidation_queue("n1").name,
    ]
    assert names == [
        "one.events",
        "one.log",
        "one.rpc",
        "one.invalidate",
        "one.log.3",
        "one.log.dead",
        "one.rpc.groups",
        "one.node.n1",
        "one.invalidate.n1",
    ]


def test_values_compare() -> None:
    """Two topologies with the same settings are the same values, usable as keys."""
    assert Topology("one") == Topology("one")
    assert Topology("one") != Topology("two")
    assert len({Binding(Topology().events, "g.1"), Binding(Topology().events, "g.1")}) == 1


def test_shards_are_stable() -> None:
    """A channel keeps its shard for ever: CRC-32 of its id, 8 bytes big endian, modulo the number of shards."""
    topology = Topology(shards=16)
    assert [topology.shard_of(channel_id) for channel_id in (1, 2, 3, 1_234_567_890_123_456_789)] == [15, 5, 3, 0]
    assert topology.log_bindings(3) == (Binding(topology.log, "3"),)


def test_users_have_a_key_each_or_share_slots() -> None:
    """With no slots each user has a key of its own; with slots every key is one of that many."""
    assert Topology().user_key(77) == "u.77"
    slots = Topology(user_slots=4)
    assert {slots.user_key(user_id) for user_id in range(1000)} == {"u.0", "u.1", "u.2", "u.3"}


def test_an_event_goes_to_its_group_or_to_its_users() -> None:
    """A group's event has the group's key alone; any other one key per recipient, each once, the first first."""
    topology = Topology()
    assert topology.keys_of(5, [1, 2]) == ("g.5",)
    assert topology.keys_of(0, [9, 8, 9]) == ("u.9", "u.8")
    assert topology.node_key("n1") == "n.n1"


def test_only_the_log_is_durable() -> None:
    """Commands survive a restart of the broker; events, calls and invalidations need not."""
    topology = Topology()
    exchanges = (topology.events, topology.log, topology.rpc, topology.invalidate)
    assert [exchange.name for exchange in exchanges if exchange.persistent] == ["starling.log"]
    assert topology.invalidate.kind == "fanout"
    assert topology.events == Exchange("starling.events")


def test_each_key_has_its_part_of_the_exchange() -> None:
    """By CRC-32 of the key, the same in every process; one part is the exchange itself."""
    assert Topology().events.parts == (Exchange("starling.events"),)
    events = Topology(exchange_partitions=4).events
    names = [part.name for part in events.parts]
    assert names == [f"starling.events.{number}" for number in range(4)]
    assert [events.part_of(key).name for key in ("g.1", "u.17", "n.a")] == [names[number] for number in (1, 1, 2)]
    keys = [f"g.{number}" for number in range(9)]
    by_part = events.keys_by_part(keys)
    assert sorted(key for its in by_part.values() for key in its) == keys
    assert all(events.part_of(key) == part for part, its in by_part.items() for key in its)
    assert all(part.kind == "direct" for part in by_part)
    with pytest.raises(ValueError, match="direct"):
        Exchange("e", kind="fanout", partitions=2)


def test_a_queue_that_cannot_be_is_refused() -> None:
    """Arguments that contradict each other are our own mistake, and found at once."""
    with pytest.raises(ValueError, match="exclusive"):
        Queue("q", exclusive=True, quorum=True)
    with pytest.raises(ValueError, match="bounded"):
        Queue("q", single_active=True, max_bytes=1)
