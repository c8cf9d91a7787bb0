"""A replica that alone can't reach MongoDB: the calls that it has in hand are answered by another."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

import pytest

from shared.amqp import open_amqp_bus
from shared.core.calls import ReadSessions, Sessions
from shared.mongo import open_database
from shared.reach import Reach
from shared.rpc import Rpc, serve_calls
from shared.settings import MongoSettings
from shared.topology import Topology
from tests.proxy import open_proxy
from tests.servers import forget_topology
from tests.waiting import running, wait_until

pytestmark = pytest.mark.servers

ANSWER_S = 0.3
CALLS = 8
"""The driver's threads, of which a call that hangs holds one, are the process's, and so both replicas' here."""


@dataclass(frozen=True)
class World:
    """A broker, and what was served there by whom."""

    rabbitmq_url: str
    topology: Topology
    served: Counter[str]

    @asynccontextmanager
    async def serving(self, name: str, mongo_url: str) -> AsyncIterator[Reach]:
        """Serve calls as a replica with a bus and a database of its own; yield its reach."""
        settings = MongoSettings(url=mongo_url, database=self.topology.prefix)
        async with open_database(settings) as database, open_amqp_bus(self.rabbitmq_url) as bus:

            async def answer(_: ReadSessions) -> Sessions:
                await database.ping()
                self.served[name] += 1
                return Sessions(())

            reach = Reach(partial(database.ping, ANSWER_S), lambda: database.answers, every_s=0.1, answer_s=ANSWER_S)
            calls = serve_calls(bus, self.topology, "groups", {ReadSessions: answer}, reach=reach)
            async with running(reach.run()), running(calls):
                yield reach

    async def ask_until_all_serve(self, rpc: Rpc) -> None:
        """Ask until each of two replicas has answered something from now on."""
        before = self.served.copy()
        async with asyncio.timeout(20):
            while len(self.served - before) < 2:
                await rpc.call(ReadSessions((1,)))


async def test_calls_are_answered_by_who_reaches_the_database(rabbitmq_url: str, mongo_url: str) -> None:
    """While one of two replicas hears nothing from MongoDB no call fails; it serves again once it does."""
    world = World(rabbitmq_url, Topology(f"test-{uuid.uuid4().hex[:12]}", shards=1), Counter())
    mongo = urlsplit(mongo_url)
    async with open_proxy(mongo.port or 27017, mongo.hostname or "127.0.0.1") as proxy:
        behind = mongo._replace(netloc=f"127.0.0.1:{proxy.port}").geturl()
        async with (
            world.serving("sick", behind) as reach,
            world.serving("well", mongo_url),
            open_amqp_bus(rabbitmq_url) as bus,
        ):
            await bus.declare(world.topology.rpc_queue("groups"), world.topology.rpc_bindings("groups"))
            rpc = Rpc(bus, world.topology)
            await world.ask_until_all_serve(rpc)
            proxy.silence()
            before = world.served.copy()
            await asyncio.gather(*(rpc.call(ReadSessions((1,))) for _ in range(CALLS)))
            assert world.served - before == {"well": CALLS}
            assert not reach.is_there
            proxy.resume()
            await wait_until(lambda: reach.is_there)
            await world.ask_until_all_serve(rpc)
    await forget_topology(rabbitmq_url, world.topology, ("groups",))
