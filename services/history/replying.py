"""Replying: telling the nodes that wait what became of their commands.

Ring 4 (shell).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from shared.bus import Bus
from shared.core.commands import Replies, Reply, encode_envelope
from shared.topology import Topology


class Addressed(NamedTuple):
    """A reply, and the node that waits for it."""

    node: str
    reply: Reply


async def send_replies(bus: Bus, topology: Topology, replies: Sequence[Addressed]) -> None:
    """Tell each node its own in one envelope, all side by side; a node that is gone needs none.

    Raises `BusUnavailable`: some may be out.
    """
    by_node: dict[str, list[Reply]] = {}
    for node, reply in replies:
        by_node.setdefault(node, []).append(reply)
    outcomes = await asyncio.gather(
        *(
            bus.publish(topology.events, (topology.node_key(node),), encode_envelope(Replies(tuple(its_replies))))
            for node, its_replies in by_node.items()
        ),
        return_exceptions=True,
    )
    for outcome in outcomes:
        if outcome is not None:
            raise outcome
