"""Several nodes of one small world, which share a registry and trails, and can be killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from services.gateway.memory_registry import MemoryRegistry
from services.gateway.memory_trails import MemoryTrails
from shared.core.model import Channel, User
from tests.gateway.world import Client, ServedNode, World, open_node, open_world, settings_of


class Cluster:
    """A world and nodes that share a registry and trails; any of them can be killed."""

    def __init__(self, world: World, stack: AsyncExitStack) -> None:
        self.world = world
        self.registry = MemoryRegistry()
        self.trails = MemoryTrails()
        self._stack = stack
        self._nodes: dict[str, tuple[ServedNode, asyncio.Task[None]]] = {}

    def __getitem__(self, name: str) -> ServedNode:
        return self._nodes[name][0]

    @property
    def names(self) -> list[str]:
        """The names of the nodes that live."""
        return list(self._nodes)

    async def start(self, name: str, **settings: Any) -> ServedNode:
        """Start a node."""
        up: asyncio.Future[ServedNode] = asyncio.get_running_loop().create_future()

        async def live() -> None:
            own = settings_of(**({"checkpoint_interval": timedelta(milliseconds=20)} | settings))
            async with open_node(self.world, own, name=name, registry=self.registry, trails=self.trails) as node:
                up.set_result(node)
                await asyncio.Event().wait()

        task = asyncio.create_task(live())
        self._stack.push_async_callback(self._stop, task)
        node = await up
        self._nodes[name] = node, task
        return node

    async def drain(self, name: str) -> None:
        """Let a node end as SIGTERM does."""
        node, task = self._nodes.pop(name)
        await node.gateway.drain()
        await self._stop(task)

    async def kill(self, name: str) -> None:
        """Let a node die without a word, as `kill -9` does."""
        node, task = self._nodes.pop(name)
        node.gateway.node.is_draining = True  # who comes at this moment meets nobody
        for connection in tuple(node.gateway.node._connections):
            connection.abort()
        await self._stop(task)

    @staticmethod
    async def _stop(task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.wait({task})

    async def known(self, name: str) -> None:
        """Wait until the registry knows of all sessions of a node."""
        node = self[name]
        async with asyncio.timeout(5):
            while node.metrics.registry.get_sample_value("starling_gateway_registry_waiting"):
                await asyncio.sleep(0.01)

    async def checkpoint(self, name: str) -> None:
        """Wait until a node has told all that it did so far."""
        await self[name].gateway.checkpointing.write_now()
        await self.known(name)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """Yield a cluster without nodes."""
    async with open_world() as world, AsyncExitStack() as stack:
        yield Cluster(world, stack)


def contents(client: Client) -> list[str]:
    """Return what a client was told of messages, in order."""
    return [d["content"] for d in client.got("MESSAGE_CREATE")]


async def say_all(world: World, author: User, channel: Channel, *contents: str) -> None:
    """Store and publish messages."""
    for content in contents:
        await world.say(author, channel, content)
