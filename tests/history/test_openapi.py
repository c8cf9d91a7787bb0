"""The history service answers what its OpenAPI document declares."""

from __future__ import annotations

import asyncio

import pytest

from services.history.app import router
from shared.http import create_app
from shared.metrics import Metrics
from shared.settings import HttpSettings
from tests.history.world import ADA, BEN, CHANNEL, EVE, HOOK, open_world
from tests.openapi import hold, operations_of

EXAMPLES = 15


@pytest.mark.parametrize(
    "operation",
    list(operations_of(create_app(HttpSettings(), metrics=Metrics(), routers=[router]).openapi())),
    ids=lambda operation: operation.label,
)
def test_answers_are_declared(operation: object) -> None:
    """Whatever is asked as declared, by a member, a stranger or nobody: no undeclared answer, and none of 500."""
    with asyncio.Runner() as runner:
        opened = open_world()
        world = runner.run(opened.__aenter__())
        try:
            sent = [runner.run(world.post(ADA, content=f"message {number}")).json()["id"] for number in range(5)]
            headers: tuple[dict[str, str], ...] = (
                world.token(ADA),
                world.token(ADA),
                world.token(BEN),
                world.token(EVE),
                {},
            )
            sent.append(runner.run(world.write(content="by a webhook")).json()["id"])
            known = {
                "channel_id": [str(CHANNEL.id)],
                "message_id": sent,
                "emoji": ["👍"],
                "user_id": [str(ADA.id)],
                "webhook_id": [str(HOOK.id)],
                "token": [world.tokens.webhook_token(HOOK.id)],
            }
            hold(operation, runner, world.client, headers, known, examples=EXAMPLES)
        finally:
            runner.run(opened.__aexit__(None, None, None))
