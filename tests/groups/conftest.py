"""Fixtures of the groups tests: a world in memory, and one or two replicas of the service in it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.groups.world import Replica, World, open_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return stores and a bus in memory."""
    async with open_world() as opened:
        yield opened


@pytest.fixture
async def groups(world: World) -> AsyncIterator[Replica]:
    """Return one replica."""
    async with world.open_replica() as replica:
        yield replica


@pytest.fixture
async def rival(world: World) -> AsyncIterator[Replica]:
    """Return a second replica on the same stores."""
    async with world.open_replica() as replica:
        yield replica
