"""Who may come in: addresses behind proxies, connections per address, sessions and IDENTIFYs per user."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.middleware.proxy_headers import _TrustedHosts

from services.gateway.core.admission import Admission, Proxies
from shared.core import calls
from shared.core.errors import RateLimited
from shared.settings import LimitSettings
from tests.gateway.raw import open_raw
from tests.gateway.world import open_client, open_node, open_world, settings_of

HOSTS = ["10.0.0.1", "10.0.0.2", "192.0.2.7", "198.51.100.9", "2001:db8::1", "::1", "garbage", ""]


@given(
    st.lists(st.sampled_from(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "unix:", "*"]), max_size=3),
    st.sampled_from(HOSTS[:-2]),
    st.lists(st.sampled_from(HOSTS), max_size=4),
)
def test_the_client_is_who_uvicorn_says_for_requests(trusted: list[str], peer: str, forwarded: list[str]) -> None:
    """One rule for WebSockets and requests: the last address in the header that is no trusted proxy."""
    hosts = [host for host in forwarded if host]
    theirs = _TrustedHosts(trusted)
    expected = peer
    if peer in theirs and hosts:
        expected = theirs.get_trusted_client_address(", ".join(hosts))[0]
    assert Proxies(trusted).client_of(peer, ", ".join(forwarded)) == expected


@given(st.lists(st.tuples(st.sampled_from([*HOSTS, "::ffff:192.0.2.7", "2001:db8::2"]), st.booleans())))
def test_connections_per_address_are_counted_exactly(steps: list[tuple[str, bool]]) -> None:
    """At most so many at once per address (of IPv6: per site), places come back, loopback is free, nothing is left."""
    admission = Admission(connections_per_address=2)
    places: list[str] = []
    for address, comes in steps:
        if comes:
            place = admission.enter(address)
            if place is not None:
                places.append(place)
        elif places:
            admission.leave(places.pop())
        counts = Counter(place for place in places if place)
        assert all(count <= 2 for count in counts.values())
        assert admission.statistics()["addresses"] == len(counts)
    for place in places:
        admission.leave(place)
    assert admission.statistics() == {"addresses": 0, "most_per_address": 0}


def test_places() -> None:
    """An IPv6 site is one place, a mapped IPv4 address is that address, what is no address is counted together."""
    admission = Admission(connections_per_address=1)
    for address in ("2001:db8::1", "192.0.2.7", "garbage"):
        assert admission.enter(address)
    for address in ("2001:db8::ffff", "::ffff:192.0.2.7", "rubbish"):
        assert admission.enter(address) is None
    for _ in range(3):
        assert admission.enter("127.0.0.1") == ""
        assert admission.enter("::1") == ""
    assert Admission().enter("192.0.2.7") == ""


def test_identifies_come_back_with_time() -> None:
    """So many at once, then one per interval; each user has a budget of their own."""
    admission = Admission(identifies_per_minute=3)
    for _ in range(3):
        admission.require_turn(1, 0.0)
    admission.require_turn(2, 0.0)
    for now in (0.0, 19.0):
        with pytest.raises(RateLimited):
            admission.require_turn(1, now)
    admission.require_turn(1, 21.0)


async def test_an_address_behind_a_proxy_has_its_own_bound() -> None:
    """429 for one connection more from the same client, whatever it wrote into the header itself; others come in."""
    limits = LimitSettings(connections_per_address=2)
    settings = settings_of(limits=limits)
    http = settings.http.model_copy(update={"trusted_proxies": ("127.0.0.1",)})
    settings = settings.model_copy(update={"http": http})
    async with open_world() as world, open_node(world, settings) as node:

        async def status(forwarded: str) -> int:
            return await clients[-1].upgrade("/gateway", f"X-Forwarded-For: {forwarded}")

        async with (
            open_raw(node.port) as one,
            open_raw(node.port) as two,
            open_raw(node.port) as three,
            open_raw(node.port) as four,
        ):
            clients = [one]
            assert await status("192.0.2.7") == 101
            clients.append(two)
            assert await status("1.2.3.4, 192.0.2.7") == 101
            clients.append(three)
            assert await status("5.6.7.8, 192.0.2.7") == 429
            clients.append(four)
            assert await status("198.51.100.9") == 101
        async with asyncio.timeout(10):
            while node.gateway.node.admission.statistics()["addresses"]:
                await asyncio.sleep(0.01)


async def test_a_user_has_a_bound_of_sessions() -> None:
    """One more is refused with 4008, those that are there stay; a place that became free is given again."""
    limits = LimitSettings(sessions_per_user=2)
    async with open_world() as world, open_node(world, settings_of(limits=limits)) as node:
        token = world.token(world.register("ann"))
        async with open_client(node, token) as one, open_client(node) as more, open_client(node, token):
            await more.send(2, {"token": token})
            assert await more.closed() == 4008
            await one.send(1)
            assert (await one.until(11))["op"] == 11


async def test_a_user_who_identifies_too_often_waits() -> None:
    """4008 above the rate, though all sessions before are closed; other users are not concerned."""
    limits = LimitSettings(identifies_per_minute=3)
    async with open_world() as world, open_node(world, settings_of(limits=limits)) as node:
        ann, ben = world.register("ann"), world.register("ben")
        for _ in range(3):
            async with open_client(node, world.token(ann)):
                pass
        async with open_client(node) as client:
            await client.send(2, {"token": world.token(ann)})
            assert await client.closed() == 4008
        async with open_client(node, world.token(ben)):
            pass


@pytest.mark.parametrize("at_once", [1, 3])
async def test_openings_wait_in_order(at_once: int) -> None:
    """At most so many sessions are opened at once; the others wait for their turn and then begin."""
    async with open_world() as world, open_node(world, settings_of(openings_at_once=at_once)) as node:
        users = [world.register(f"user{number}") for number in range(6)]

        def asked() -> set[int]:
            return {one for call in world.asked if isinstance(call, calls.ReadSessions) for one in call.user_ids}

        gate = world.gates[calls.ReadSessions] = asyncio.Event()
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:

            async def come(token: str) -> None:
                async with open_client(node, token):
                    await done.wait()

            done = asyncio.Event()
            for user in users:
                group.create_task(come(world.token(user)))
            while len(asked()) < at_once:
                await asyncio.sleep(0.01)
            while node.gateway.node.statistics()["connections"] < len(users):
                await asyncio.sleep(0.01)
            assert len(asked()) == at_once
            gate.set()
            await node.wait_sessions(len(users))
            done.set()


@given(per_minute=st.integers(1, 600))
def test_who_keeps_to_the_concurrency_is_not_refused(per_minute: int) -> None:
    """So many IDENTIFYs each five seconds fit the budget for ever; a budget of less than one each time tells one."""
    admission = Admission(identifies_per_minute=per_minute)
    assert admission.starts_at_once >= 1
    for turn in range(30 if per_minute >= 12 else 1):
        for _ in range(admission.starts_at_once):
            admission.require_turn(1, turn * 5.0)
