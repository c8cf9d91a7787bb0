"""The groups service answers what its OpenAPI document declares."""

from __future__ import annotations

import asyncio

import pytest

from services.groups.app import router
from shared.http import create_app
from shared.metrics import Metrics
from shared.settings import HttpSettings
from tests.groups.world import open_world
from tests.openapi import hold, operations_of

EXAMPLES = 6


@pytest.mark.parametrize(
    "operation",
    list(operations_of(create_app(HttpSettings(), metrics=Metrics(), routers=[router]).openapi())),
    ids=lambda operation: operation.label,
)
def test_answers_are_declared(operation: object) -> None:
    """Whatever is asked as declared, by an owner, a member or nobody: no undeclared answer, and none of 500."""
    with asyncio.Runner() as runner:
        opened = open_world()
        world = runner.run(opened.__aenter__())
        serving = world.open_replica()
        replica = runner.run(serving.__aenter__())
        try:
            (owner, owner_id), (member, member_id) = (runner.run(replica.register(name)) for name in ("ada", "ben"))
            group_id, channel_id = runner.run(replica.create_group(owner, "garden"))
            runner.run(replica.call("POST", "/guilds/join", member, {"name": "garden"}))
            headers: tuple[dict[str, str], ...] = (
                {"Authorization": owner},
                {"Authorization": owner},
                {"Authorization": member},
                {},
            )
            made = runner.run(replica.call("POST", f"/channels/{channel_id}/webhooks", owner, {"name": "hook"})).json()
            known = {
                "webhook_id": [made["id"]],
                "token": [made["token"]],
                "guild_id": [str(group_id)],
                "channel_id": [str(channel_id)],
                "user_id": [str(owner_id), str(member_id)],
                "role_id": [str(group_id)],
            }
            hold(operation, runner, replica.http, headers, known, examples=EXAMPLES)
        finally:
            runner.run(serving.__aexit__(None, None, None))
            runner.run(opened.__aexit__(None, None, None))
