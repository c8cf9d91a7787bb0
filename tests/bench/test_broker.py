"""The benchmark of the broker publishes where it says."""

from __future__ import annotations

import os

import pytest

from shared.topology import Binding, Topology
from tests.bench.broker import measure_bindings, measure_publishes


@pytest.mark.servers
async def test_publishes_and_bindings_are_measured(rabbitmq_url: str) -> None:
    """Under several keys, to several queues; a queue's bindings are all gone with it."""
    topology = Topology("test-bench")
    bindings = [Binding(topology.events, topology.group_key(one)) for one in (1, 2, 3)]
    queues = [topology.node_queue("one"), topology.node_queue("two")]
    published = await measure_publishes(rabbitmq_url, os.getpid(), "a node's", queues, bindings, 50)
    assert (published.keys, published.queues) == (3, 2)
    assert published.confirm_p99_ms >= published.confirm_p50_ms > 0
    bound = await measure_bindings(rabbitmq_url, os.getpid(), 20, 8)
    assert (bound.bindings, bound.exchanges) == (20, 8)
    assert bound.publish_most_ms > 0
