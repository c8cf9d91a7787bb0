"""What there is none of: empty lists where libraries wait for one, and 404 in Discord's shape for all the rest."""

from __future__ import annotations

from typing import Any

import pytest

from tests.groups.test_applications import make
from tests.groups.test_rest import error_of
from tests.groups.world import Replica

LISTS: dict[str, Any] = {
    "/soundboard-default-sounds": [],
    "/sticker-packs": {"sticker_packs": []},
    "/voice/regions": [],
    "/applications/{bot}/emojis": {"items": []},
    "/guilds/{group}/emojis": [],
    "/guilds/{group}/stickers": [],
    "/guilds/{group}/scheduled-events": [],
    "/guilds/{group}/regions": [],
    "/guilds/{group}/soundboard-sounds": {"items": []},
    "/guilds/{group}/threads/active": {"threads": [], "members": []},
}
ABSENT = (
    ("GET", "/stage-instances/1"),
    ("GET", "/guilds/1/welcome-screen"),
    ("GET", "/guilds/1/voice-states/@me"),
    ("POST", "/guilds/1/emojis/1"),
    ("POST", "/interactions/1/token/callback"),
    ("GET", "/applications/1/entitlements"),
    ("GET", "/store/published-listings/skus/1"),
    ("PUT", "/no/such/route"),
)


@pytest.mark.parametrize("path", LISTS)
async def test_lists_are_empty(groups: Replica, path: str) -> None:
    """As Discord answers who has none; strangers are not even told that, py-cord is ready only with an answer."""
    ann, _ = await groups.register("ann")
    token, bot_id = await make(groups, ann)
    group_id, _ = await groups.create_group(ann, "Room")
    asked = path.format(group=group_id, bot=bot_id)
    assert error_of(await groups.call("GET", asked)) == (401, 0)
    if "{group}" in path:
        assert error_of(await groups.call("GET", asked, f"Bot {token}")) == (404, 10004)
        await groups.call("POST", "/guilds/join", f"Bot {token}", {"name": "Room"})
    answer = await groups.call("GET", asked, f"Bot {token}")
    assert (answer.status_code, answer.json()) == (200, LISTS[path])
    assert answer.headers["content-type"] == "application/json", "discord.py takes any other type as text"


@pytest.mark.parametrize(("method", "path"), ABSENT)
async def test_what_is_not_there_is_not_found(groups: Replica, method: str, path: str) -> None:
    """404 in Discord's shape, which libraries log and get over."""
    ann, _ = await groups.register("ann")
    answer = await groups.call(method, path, ann, {} if method != "GET" else None)
    assert error_of(answer) in ((404, 0), (405, 0))
    assert answer.json().keys() == {"code", "message"}
