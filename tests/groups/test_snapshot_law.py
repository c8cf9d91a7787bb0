"""The snapshot law: an old snapshot and the events since are the new snapshot, for every call that changes a guild."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from services.gateway.core.hub import Hub
from services.gateway.core.snapshot import guild_create
from shared.core.calls import GroupView, SessionView
from shared.core.stream import group_stream
from shared.core.wire.values import encode
from tests.groups.test_permissions import CASES, Scene, open_scene
from tests.groups.world import Replica


async def open_hub(scene: Scene, viewer: int) -> Hub[str]:
    """Return a node's hub that follows a member and the group, as they are now."""
    snapshots = scene.replica.groups.snapshots
    users, groups = await snapshots.read_sessions((viewer,)), await snapshots.read_groups((scene.group,))
    hub: Hub[str] = Hub()
    hub.roster.put_user(whole(users[viewer], SessionView), 0.0)
    if scene.group in groups:
        hub.roster.put_group(whole(groups[scene.group], GroupView), 0.0)
    else:
        hub.roster.without_group(scene.group, 0)
    return hub


def whole(view: Any, kind: type[Any]) -> Any:
    """Return a view that may be encoded already."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(view), type=kind)


def told(hub: Hub[str], group_id: int, viewer: int) -> dict[str, Any]:
    """Return what a session of the member would begin with; members in the order of their ids."""
    roster = hub.roster
    if group_id not in roster.users[viewer].groups:
        return {}
    member = roster.users[viewer].groups[group_id].member
    created: dict[str, Any] = json.loads(encode(guild_create(roster.channels, roster.groups[group_id], member)))
    created["members"].sort(key=lambda one: int(one["user"]["id"]))
    return created


@pytest.mark.parametrize("name", CASES)
async def test_old_snapshot_and_events_are_the_new_snapshot(groups: Replica, name: str) -> None:
    """For an owner, a moderator and a plain member: what a node makes of the events is what it would read anew."""
    scene = await open_scene(groups)
    prepare, _ = CASES[name]
    method, path, body = await prepare(scene)
    viewers = [scene.ids[kind] for kind in ("owner", "moderator", "member")]
    before = {viewer: await open_hub(scene, viewer) for viewer in viewers}
    await groups.call(method, path, scene.tokens["owner"], body)
    stream = group_stream(scene.group)
    for viewer, hub in before.items():
        position = hub.roster.position(stream)
        assert position is not None
        for event in (await groups.groups.views.read_changes(stream, position, 100)).events:
            hub.fill(event, 0.0)
        assert told(hub, scene.group, viewer) == told(await open_hub(scene, viewer), scene.group, viewer)
