"""Webhooks: made and managed by those who may, used by those who have the token, gone with their channel."""

from __future__ import annotations

import asyncio

import pytest

from services.groups.core.authority import Facts
from services.groups.core.webhooks import MAX_GROUP_WEBHOOKS, MAX_WEBHOOKS, decide_create_webhook
from shared.core.calls import WebhookView
from shared.core.group_errors import TooManyWebhooks
from shared.core.group_events import WebhookChanged, WebhookCreated, WebhookDeleted
from shared.core.model import Channel, ChannelType, Group, Member, User, Webhook
from shared.core.permissions import Permission
from shared.core.roles import all_roles
from shared.core.stream import group_stream
from shared.core.webhooks import PERMISSIONS
from tests.groups.world import Json, Replica, World


async def make(groups: Replica, token: str, channel: int, name: str = "deploys") -> Json:
    """Make a webhook; return what is told of it."""
    answer = await groups.call("POST", f"/channels/{channel}/webhooks", token, {"name": name})
    assert answer.status_code == 200, answer.text
    return answer.json()


def code_of(answer: Json) -> int:
    """Return an answer's error code."""
    return int(answer.json()["code"])


async def test_a_webhook_is_told_to_who_manages_it(world: World, groups: Replica) -> None:
    """It is made, listed, renamed, moved and deleted; each is an event of the group's stream, none holds the token."""
    ann, ann_id = await groups.register("ann")
    group, channel = await groups.create_group(ann, "Room")
    await world.follow(f"g.{group}")
    made = await make(groups, ann, channel, " Deploys ")
    path = f"/webhooks/{made['id']}"
    assert (made["type"], made["name"], made["channel_id"], made["guild_id"]) == (
        1,
        "Deploys",
        str(channel),
        str(group),
    )
    assert (made["user"]["id"], made["application_id"], made["avatar"]) == (str(ann_id), None, None)
    assert len(made["token"]) == 68
    assert made["url"].endswith(f"/api/v10{path}/{made['token']}")
    for listing in (f"/channels/{channel}/webhooks", f"/guilds/{group}/webhooks"):
        assert (await groups.call("GET", listing, ann)).json() == [made]
    assert (await groups.call("GET", path, ann)).json() == made
    other = await groups.call("POST", f"/guilds/{group}/channels", ann, {"name": "other"})
    body = {"name": "builds", "channel_id": other.json()["id"]}
    moved = await groups.call("PATCH", path, ann, body)
    assert moved.json() == {**made, **body}
    assert (await groups.call("GET", f"/channels/{channel}/webhooks", ann)).json() == []
    assert (await groups.call("DELETE", path, ann)).status_code == 204
    assert [code_of(await groups.call(method, path, ann, {})) for method in ("GET", "PATCH", "DELETE")] == [10015] * 3
    heard = world.bodies_heard(group_stream(group))
    assert [type(body) for body in heard if "Webhook" in type(body).__name__] == [
        WebhookCreated,
        WebhookChanged,
        WebhookDeleted,
    ]
    assert made["token"] not in repr(heard)


async def test_who_has_the_token_may_read_rename_and_delete_it_and_no_more(groups: Replica) -> None:
    """Without any user: no creator is told, the channel stays, and after the deletion the token is worth nothing."""
    ann, _ = await groups.register("ann")
    _, channel = await groups.create_group(ann, "Room")
    made = await make(groups, ann, channel)
    path = f"/webhooks/{made['id']}/{made['token']}"
    bare = {name: value for name, value in made.items() if name != "user"}
    assert (await groups.call("GET", path)).json() == bare
    renamed = await groups.call("PATCH", path, body={"name": "builds", "channel_id": "5"})
    assert renamed.json() == {**bare, "name": "builds"}
    assert (await groups.call("DELETE", path)).status_code == 204
    assert code_of(await groups.call("GET", path)) == 10015


async def test_nobody_gets_in_by_guessing(groups: Replica) -> None:
    """A wrong token, another webhook's, or a prefix: refused alike, also for ids of which there is no webhook."""
    ann, _ = await groups.register("ann")
    _, channel = await groups.create_group(ann, "Room")
    one, other = await make(groups, ann, channel), await make(groups, ann, channel)
    token = one["token"]
    wrong = [other["token"], token[:-1], f"{token}A", token.swapcase(), "x", ann, "é", f"{one['id']}.{token}"]
    for webhook_id, tokens in ((one["id"], wrong), ("5", [token, "x"]), (str(channel), [token])):
        for method in ("GET", "PATCH", "DELETE"):
            for tried in tokens:
                answer = await groups.call(method, f"/webhooks/{webhook_id}/{tried}", body={})
                assert (answer.status_code, code_of(answer)) == (401, 50027)
    assert (await groups.call("GET", f"/webhooks/{one['id']}/{token}")).status_code == 200


async def test_the_list_of_a_group_leaves_out_channels_where_one_may_not(groups: Replica) -> None:
    """Tokens are shown only where the caller manages the webhooks of that channel, too."""
    ann, _ = await groups.register("ann")
    ben, ben_id = await groups.register("ben")
    group, channel = await groups.create_group(ann, "Room")
    await groups.call("POST", "/guilds/join", ben, {"name": "Room"})
    managing = {"permissions": str(int(Permission.MANAGE_WEBHOOKS | Permission.VIEW_CHANNEL))}
    await groups.call("PATCH", f"/guilds/{group}/roles/{group}", ann, managing)
    other = (await groups.call("POST", f"/guilds/{group}/channels", ann, {"name": "other"})).json()["id"]
    denied = {"type": 1, "deny": str(int(Permission.MANAGE_WEBHOOKS))}
    await groups.call("PUT", f"/channels/{other}/permissions/{ben_id}", ann, denied)
    seen, hidden = await make(groups, ann, channel), await make(groups, ann, int(other))
    listing = f"/guilds/{group}/webhooks"
    assert {one["id"] for one in (await groups.call("GET", listing, ann)).json()} == {seen["id"], hidden["id"]}
    assert [one["id"] for one in (await groups.call("GET", listing, ben)).json()] == [seen["id"]]
    assert code_of(await groups.call("GET", f"/webhooks/{hidden['id']}", ben)) == 50013


async def test_webhooks_go_with_their_channel(groups: Replica) -> None:
    """Once a channel's deletion has answered its webhooks are nowhere, and write nothing."""
    ann, _ = await groups.register("ann")
    group, channel = await groups.create_group(ann, "Room")
    made, kept = await make(groups, ann, channel), 0
    other = (await groups.call("POST", f"/guilds/{group}/channels", ann, {"name": "other"})).json()["id"]
    kept = (await make(groups, ann, int(other)))["id"]
    assert (await groups.call("DELETE", f"/channels/{channel}", ann)).status_code == 200
    assert [one["id"] for one in (await groups.call("GET", f"/guilds/{group}/webhooks", ann)).json()] == [kept]
    assert code_of(await groups.call("GET", f"/webhooks/{made['id']}/{made['token']}")) == 10015
    assert await groups.groups.views.read_webhook(int(made["id"])) == WebhookView()


async def test_webhooks_go_with_their_group(groups: Replica) -> None:
    """Once a group's deletion has answered, nobody reads, changes or uses what was in it, token or not."""
    ann, _ = await groups.register("ann")
    group, channel = await groups.create_group(ann, "Room")
    made = await make(groups, ann, channel)
    assert (await groups.call("DELETE", f"/guilds/{group}", ann)).status_code == 204
    for path, token in ((f"/webhooks/{made['id']}", ann), (f"/webhooks/{made['id']}/{made['token']}", "")):
        for method in ("GET", "PATCH", "DELETE"):
            answer = await groups.call(method, path, token, {"name": "x"})
            assert (answer.status_code, code_of(answer)) == (404, 10015)
    assert await groups.groups.views.read_webhook(int(made["id"])) == WebhookView()


async def test_a_webhook_may_write_into_its_own_channel_only_and_while_it_is_there(groups: Replica) -> None:
    """What history asks: the same for all webhooks, nothing elsewhere, nothing once it is deleted or moved away."""
    ann, ann_id = await groups.register("ann")
    group, channel = await groups.create_group(ann, "Room")
    other = int((await groups.call("POST", f"/guilds/{group}/channels", ann, {"name": "other"})).json()["id"])
    direct = (await groups.call("POST", "/users/@me/channels", ann, {"recipient_id": str(ann_id)})).json().get("id")
    made = await make(groups, ann, channel)
    webhook_id = int(made["id"])
    views = groups.groups.views
    for _ in range(2):  # read, then cached
        access = await views.read_access(channel, webhook_id)
        assert (access.permissions, access.user) == (PERMISSIONS, User(webhook_id, "deploys", bot=True))
    for elsewhere in filter(None, (other, direct)):
        assert (await views.read_access(int(elsewhere), webhook_id)).permissions == 0
    view = await views.read_webhook(webhook_id)
    assert view.webhook is not None
    assert view.access == access
    await groups.call("PATCH", f"/webhooks/{webhook_id}", ann, {"channel_id": str(other)})
    assert (await views.read_access(channel, webhook_id)).channel is None
    assert (await views.read_access(other, webhook_id)).permissions == PERMISSIONS
    await groups.call("DELETE", f"/webhooks/{webhook_id}", ann)
    assert (await views.read_access(other, webhook_id)).channel is None


async def test_a_channel_has_fifteen_webhooks_whoever_comes_at_once(groups: Replica, rival: Replica) -> None:
    """Of twenty that are asked for at once on two replicas fifteen are made; one may not be moved there either."""
    ann, _ = await groups.register("ann")
    group, channel = await groups.create_group(ann, "Room")
    path = f"/channels/{channel}/webhooks"
    replicas = (groups, rival)
    answers = await asyncio.gather(
        *(replicas[number % 2].call("POST", path, ann, {"name": f"hook {number}"}) for number in range(20))
    )
    assert sum(answer.status_code == 200 for answer in answers) == MAX_WEBHOOKS
    assert {code_of(answer) for answer in answers if answer.status_code != 200} == {30007}
    assert len((await groups.call("GET", path, ann)).json()) == MAX_WEBHOOKS
    other = (await groups.call("POST", f"/guilds/{group}/channels", ann, {"name": "other"})).json()["id"]
    moving = await make(groups, ann, int(other))
    moved = await groups.call("PATCH", f"/webhooks/{moving['id']}", ann, {"channel_id": str(channel)})
    assert code_of(moved) == 30007


def test_a_group_has_a_thousand_webhooks() -> None:
    """One more is refused, whatever channel it is for."""
    ann, group = User(1, "ann"), Group(9, "Room", 1)
    channels = {number: Channel(number, ChannelType.TEXT, "x", 9) for number in range(100)}
    webhooks = [Webhook(number, 9, number % 99, "hook", ann) for number in range(MAX_GROUP_WEBHOOKS)]
    facts = Facts(group, all_roles(9, ()), Member(9, ann, 0), 0)
    with pytest.raises(TooManyWebhooks):
        decide_create_webhook(facts, channels[99], Webhook(5_000, 9, 99, "hook", ann), webhooks)
    assert decide_create_webhook(facts, channels[99], Webhook(5_000, 9, 99, "hook", ann), webhooks[1:])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"name": "\u200b"}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x", "avatar": "data:image/png;base64,AAAA"}, "avatar"),
    ],
)
async def test_what_is_wrong_is_named(groups: Replica, body: Json, field: str) -> None:
    """Names are 1 to 80 characters that can be seen; pictures are not kept."""
    ann, _ = await groups.register("ann")
    _, channel = await groups.create_group(ann, "Room")
    answer = await groups.call("POST", f"/channels/{channel}/webhooks", ann, body)
    assert (answer.status_code, code_of(answer), [*answer.json()["errors"]]) == (400, 50035, [field])


async def test_a_category_and_a_direct_channel_have_none(groups: Replica) -> None:
    """Only what takes a group's messages has webhooks."""
    ann, _ = await groups.register("ann")
    _, ben_id = await groups.register("ben")
    group, _ = await groups.create_group(ann, "Room")
    category = (await groups.call("POST", f"/guilds/{group}/channels", ann, {"name": "x", "type": 4})).json()["id"]
    direct = (await groups.call("POST", "/users/@me/channels", ann, {"recipient_id": str(ben_id)})).json()["id"]
    codes = [
        code_of(await groups.call("POST", f"/channels/{one}/webhooks", ann, {"name": "x"}))
        for one in (category, direct)
    ]
    assert codes == [50008, 10003]
