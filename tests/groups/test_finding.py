"""Finding members by name, and channels that take over what their category says."""

from __future__ import annotations

from shared.core.permissions import Permission
from tests.groups.test_permissions import MODERATOR, open_scene
from tests.groups.world import Json, Replica


async def test_members_are_found_by_name(groups: Replica) -> None:
    """By username and shown name, as they are now, in the order of their ids; not by what can't be seen."""
    scene = await open_scene(groups)
    await scene.as_owner("PATCH", f"{scene.path}/members/{scene.ids['member']}", {"nick": "Zoë"})
    await groups.call("PATCH", "/users/@me", scene.tokens["admin"], {"global_name": "Zora"})
    await groups.groups.jobs.sweep()

    async def found(query: str, limit: int = 10) -> list[str]:
        answer = await scene.as_owner("GET", f"{scene.path}/members/search?query={query}&limit={limit}")
        return [one["user"]["username"] for one in answer]

    assert await found("ZO") == ["member", "admin"]
    assert await found("zo", 1) == ["member"]
    assert await found("m") == ["member", "moderator"]
    assert await found("stranger") == []
    for query in ("", "%20", "%E2%80%8D", "x" * 100):
        path = f"{scene.path}/members/search?query={query}"
        assert (await groups.call("GET", path, scene.tokens["owner"])).json()["code"] == 50035


async def test_a_channel_takes_over_what_its_category_says(groups: Replica) -> None:
    """With `lock_permissions`, when it is moved there or stands there; who may not say such things moves nothing."""
    scene = await open_scene(groups)
    hidden = {"id": str(scene.group), "type": 0, "deny": str(int(Permission.VIEW_CHANNEL))}
    category: Json = await scene.as_owner(
        "POST", f"{scene.path}/channels", {"name": "c", "type": 4, "permission_overwrites": [hidden]}
    )
    one, other = await scene.new_channel(), await scene.new_channel()
    body = [
        {"id": str(one), "parent_id": category["id"], "lock_permissions": True},
        {"id": str(other), "parent_id": category["id"], "position": 7},
    ]
    moderator = scene.roles["moderator"]
    permissions = MODERATOR & ~Permission.MANAGE_ROLES
    await scene.as_owner("PATCH", f"{scene.path}/roles/{moderator}", {"permissions": str(int(permissions))})
    refused = await groups.call("PATCH", f"{scene.path}/channels", scene.tokens["moderator"], body)
    assert refused.json()["code"] == 50013
    assert (await scene.as_owner("GET", f"/channels/{other}"))["parent_id"] is None
    for _ in range(2):
        await scene.as_owner("PATCH", f"{scene.path}/channels", body)
        locked, moved = [await scene.as_owner("GET", f"/channels/{channel}") for channel in (one, other)]
        assert locked["permission_overwrites"] == category["permission_overwrites"]
        assert (moved["permission_overwrites"], moved["position"]) == ([], 7)
        assert {locked["parent_id"], moved["parent_id"]} == {category["id"]}
    await scene.as_owner("PATCH", f"{scene.path}/channels", [{"id": str(other), "lock_permissions": True}])
    told = await scene.as_owner("GET", f"/channels/{other}")
    assert told["permission_overwrites"] == locked["permission_overwrites"]
    alone = await scene.new_channel()
    await scene.as_owner("PATCH", f"{scene.path}/channels", [{"id": str(alone), "lock_permissions": True}])
    unknown = [{"id": "1", "lock_permissions": True}]
    answer = await groups.call("PATCH", f"{scene.path}/channels", scene.tokens["owner"], unknown)
    assert answer.json()["code"] == 10003


async def test_a_role_that_is_gone_is_not_taken_over(groups: Replica) -> None:
    """What a category once said of a role that was deleted meanwhile holds up nobody."""
    scene = await open_scene(groups)
    role, channel = await scene.new_role(), await scene.new_channel()
    said = [{"id": str(one), "type": 0, "deny": str(int(Permission.SEND_MESSAGES))} for one in (scene.group, role)]
    body = {"name": "c", "type": 4, "permission_overwrites": said}
    category: Json = await scene.as_owner("POST", f"{scene.path}/channels", body)
    await scene.as_owner("DELETE", f"{scene.path}/roles/{role}")
    move = {"id": str(channel), "parent_id": category["id"], "lock_permissions": True}
    await scene.as_owner("PATCH", f"{scene.path}/channels", [move])
    locked = await scene.as_owner("GET", f"/channels/{channel}")
    assert [one["id"] for one in locked["permission_overwrites"]] == [str(scene.group)]
