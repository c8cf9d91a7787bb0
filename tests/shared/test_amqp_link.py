"""What a broker says of itself tells whether a confirmed binding is in force at all brokers of its cluster."""

from __future__ import annotations

from typing import Any

import aiormq
import pytest

from shared.amqp import open_amqp_bus
from shared.amqp_link import keeps_bindings_in_mnesia
from tests.waiting import wait_until


@pytest.mark.parametrize(
    ("server", "everywhere"),
    [
        ({"product": "RabbitMQ", "version": "3.10.8"}, True),
        ({"product": "RabbitMQ", "version": "3.12.14"}, True),
        ({"product": "RabbitMQ", "version": "3.13.0-rc.1"}, False),
        ({"product": "RabbitMQ", "version": "3.13.7"}, False),
        ({"product": "RabbitMQ", "version": "4.2.1"}, False),
        ({"product": "RabbitMQ", "version": "new"}, False),
        ({"product": "RabbitMQ"}, False),
        ({"product": "LavinMQ", "version": "2.4.0"}, False),
        ({}, False),
    ],
)
def test_khepri_confirms_binds_before_all_have_them(server: dict[str, Any], *, everywhere: bool) -> None:
    """RabbitMQ before 3.13 has Mnesia alone; of anything else it can't be known."""
    assert keeps_bindings_in_mnesia(server) is everywhere


async def test_nothing_is_known_without_a_connection() -> None:
    """A bus that has none says that bindings may be late."""
    async with open_amqp_bus("amqp://guest:guest@127.0.0.1:1/") as bus:
        assert not bus.binds_everywhere


@pytest.mark.servers
async def test_a_bus_knows_its_broker(rabbitmq_url: str) -> None:
    """What a real broker says is understood."""
    connection = await aiormq.connect(rabbitmq_url)
    version = str(connection.server_properties["version"])
    await connection.close()
    async with open_amqp_bus(rabbitmq_url) as bus:
        await wait_until(lambda: bus.connected)
        assert bus.binds_everywhere is (tuple(map(int, version.split(".")[:2])) < (3, 13))
