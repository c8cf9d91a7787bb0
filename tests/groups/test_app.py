"""The service as a process composes it: on MongoDB, over memory and RabbitMQ alike."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest

from services.groups.app import open_groups, router
from shared.core.calls import ReadSessions, Sessions
from shared.http import create_app
from shared.parts import open_parts
from shared.rpc import Rpc
from shared.settings import BusSettings, MongoSettings, Settings

PASSWORD = "a long enough password"


async def use_the_service(settings: Settings) -> None:
    """Register over HTTP, ask over the bus, and look at the metrics."""
    async with open_parts(settings, mongo=True) as parts, open_groups(settings, parts) as groups:
        state = {"groups": groups, "door": groups.door}
        app = create_app(settings.http, metrics=parts.metrics, routers=[router], state=state, probes=parts.probes())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://starling") as http:
            body = {"username": "ann", "password": PASSWORD}
            answer = await http.post("/api/v10/auth/register", json=body)
            assert answer.status_code == 201, answer.text
            headers = {"Authorization": answer.json()["token"]}
            made = await http.post("/api/v10/guilds", json={"name": "Room", "public": True}, headers=headers)
            assert made.status_code == 201, made.text
            call = ReadSessions((int(answer.json()["user"]["id"]),))
            told: Sessions = await Rpc(parts.bus, parts.topology).call(call)
            assert [member.group_id for member in told.views[0].memberships] == [int(made.json()["id"])]
            assert b"starling_groups_changes_in_hand 0.0" in (await http.get("/metrics")).content
            assert (await http.get("/readyz")).status_code == 200
        await parts.supervisor.stop()


@pytest.mark.servers
async def test_in_one_process(mongo_url: str) -> None:
    """With the bus in memory the service answers over HTTP and over the bus, and ends when told so."""
    await use_the_service(Settings(mongo=MongoSettings(url=mongo_url, database=f"app_{uuid4().hex}")))


@pytest.mark.servers
async def test_over_rabbitmq(mongo_url: str, rabbitmq_url: str) -> None:
    """The same on a real broker."""
    await use_the_service(
        Settings(
            mongo=MongoSettings(url=mongo_url, database=f"app_{uuid4().hex}"),
            bus=BusSettings(url=rabbitmq_url, prefix=f"t{uuid4().hex[:8]}", shards=1),
        )
    )
