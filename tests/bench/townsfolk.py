"""People for the load, put straight into a cluster's database, their tokens minted under its secret."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.load.plan import People, Place
from shared.auth import Tokens
from shared.clock import now_ms
from shared.settings import MongoSettings
from tests.bench.seeding import make_group, make_users, new_ids, store
from tests.bench.starling import Cluster


async def seed_people(cluster: Cluster, users: int, layout: Sequence[Sequence[int]], *, prefix: str) -> People:
    """Store so many users, and a group for each of `layout`; return them with their tokens."""
    ids = new_ids()
    everyone = make_users(ids, prefix, users)
    groups = [
        make_group(ids, f"{prefix}{number}", tuple(everyone[member] for member in members))
        for number, members in enumerate(layout)
    ]
    await store(MongoSettings(url=cluster.address("mongo")), groups, everyone, ids)
    tokens = Tokens(cluster.secret)
    places = [Place(str(one.channel.id), tuple(members)) for one, members in zip(groups, layout, strict=True)]
    return People(tuple(tokens.mint(user.id, now_ms()) for user in everyone), tuple(places))
