"""Garbage: sessions leave none, since full collections are rare (`shared.lifecycle.spare_program`)."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from shared.core.model import User
from tests.gateway.world import open_client, open_node, open_world, settings_of

OURS = ("services.", "shared.", "uvicorn.", "httptools.")


@contextmanager
def garbage() -> Iterator[list[Any]]:
    """Yield what is found, at the end, that only a collection would have freed."""
    found: list[Any] = []
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        found += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def test_sessions_leave_no_cycles() -> None:
    """A session that begins and ends is gone with its last reference, and so is the request that it came by."""
    async with open_world() as world:
        people = [world.register(f"user{number}") for number in range(8)]
        group, _ = await world.create_group(people[0])
        for user in people[1:]:
            await world.join(user, group)
        settings = settings_of(unbind_linger=timedelta(0))
        async with open_node(world, settings) as node, open_client(node, world.token(people[0])):

            async def come_and_go(user: User) -> None:
                async with open_client(node, world.token(user)) as client:
                    assert client.got("GUILD_CREATE")
                await node.wait_sessions(1)

            await asyncio.gather(*map(come_and_go, people[1:]))
            with garbage() as found:
                await asyncio.gather(*map(come_and_go, people[1:]))
                await node.gateway.node.sweep_once()
                await asyncio.sleep(0)
    kinds = {f"{type(one).__module__}.{type(one).__qualname__}" for one in found}
    assert not [kind for kind in kinds if kind.startswith(OURS)]
