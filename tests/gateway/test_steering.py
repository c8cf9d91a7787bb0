"""Steering: what clients are told about where to connect, and that they get there as each library puts it together."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

import httpx
import pytest
from websockets.asyncio.client import connect

from services.gateway.core.steering import gateway_url, is_gateway
from tests.gateway.world import open_client, open_node, open_world

QUERY = urlencode({"v": 10, "encoding": "json"})


def replaced(url: str) -> str:
    """Put the query into the parsed URL (discord.py, hikari)."""
    return urlsplit(url)._replace(query=QUERY).geturl()


def appended(url: str) -> str:
    """Put the query behind the text (discord.js, py-cord, disnake, nextcord)."""
    return f"{url}?{QUERY}"


def slashed(url: str) -> str:
    """Give the path a slash at its end first (oceanic.js)."""
    return f"{url.rstrip('/')}/?{QUERY}"


@pytest.mark.parametrize("asked", [replaced, appended, slashed])
async def test_a_hint_survives_what_libraries_do_to_it(asked: Callable[[str], str]) -> None:
    """With slots who tells a token hears a URL with the user's slot, and so does READY; every node takes it."""
    async with open_world(user_slots=1000) as world, open_node(world) as node:
        ann = world.register("ann")
        slot = world.topology.user_slot(ann.id)
        steered, plain = (f"ws://127.0.0.1:{node.port}/gateway{hint}" for hint in (f"/s/{slot}", ""))
        token = {"Authorization": world.token(ann)}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{node.port}/api/v10") as http:
            told = [(await http.get(path, headers=token)).json()["url"] for path in ("/gateway", "/gateway/bot")]
            for nobody in ({}, {"Authorization": "not a token"}):
                assert (await http.get("/gateway", headers=nobody)).json() == {"url": plain}
        async with open_client(node, world.token(ann)) as client:
            told.append(client.ready["resume_gateway_url"])
        assert told == [steered] * 3
        for url in (steered, plain):
            async with connect(asked(url), compression=None) as socket:
                assert json.loads(await socket.recv())["op"] == 10


async def test_without_slots_there_is_no_hint() -> None:
    """A key for each user needs no owner: connections go where there are fewest."""
    async with open_world() as world, open_node(world) as node:
        ann = world.register("ann")
        async with open_client(node, world.token(ann)) as client:
            assert client.ready["resume_gateway_url"] == f"ws://127.0.0.1:{node.port}/gateway"


def test_only_the_gateways_paths_are_its_own() -> None:
    """Every path that is told is known; what merely looks like one is not."""
    for slot in (None, 0, 7, 65535):
        path = urlsplit(gateway_url("https://chat.example", slot)).path
        assert is_gateway(path)
        assert is_gateway(f"{path}/")
    for path in ("", "/", "/gateway/s", "/gateway/s/", "/gateway/s/x", "/gateway/s/1/2", "/gateway/s/123456", "/x"):
        assert not is_gateway(path)
    assert gateway_url("https://chat.example", 7) == "wss://chat.example/gateway/s/7"
