"""Who may do what: each route of a guild × each kind of caller, and that who may not changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count

import pytest

from shared.core.permissions import Permission
from shared.core.stream import group_stream
from tests.groups.world import Json, Replica, World

MODERATOR = (
    Permission.MANAGE_ROLES
    | Permission.MANAGE_CHANNELS
    | Permission.MANAGE_NICKNAMES
    | Permission.MANAGE_GUILD
    | Permission.MODERATE_MEMBERS
    | Permission.KICK_MEMBERS
    | Permission.BAN_MEMBERS
    | Permission.MANAGE_WEBHOOKS
)
KINDS = ("nobody", "stranger", "banned", "member", "timed out", "moderator", "admin", "owner")
"""`timed out` is a moderator in a timeout."""

OK = 0
UNAUTHORIZED, NO_GROUP, NO_ACCESS, NO_PERMISSION, NO_CHANNEL = 401, 10004, 50001, 50013, 10003
NO_WEBHOOK = 10015
IN_GROUP = (UNAUTHORIZED, NO_GROUP, NO_GROUP, OK, OK, OK, OK, OK)
MODERATED = (UNAUTHORIZED, NO_GROUP, NO_GROUP, NO_PERMISSION, NO_PERMISSION, OK, OK, OK)
SEEN = (UNAUTHORIZED, NO_ACCESS, NO_ACCESS, OK, OK, OK, OK, OK)
SEEN_UNMUTED = (UNAUTHORIZED, NO_ACCESS, NO_ACCESS, OK, NO_PERMISSION, OK, OK, OK)
MANAGED = (UNAUTHORIZED, NO_ACCESS, NO_ACCESS, NO_PERMISSION, NO_PERMISSION, OK, OK, OK)
HIDDEN = (UNAUTHORIZED, NO_ACCESS, NO_ACCESS, NO_ACCESS, NO_ACCESS, NO_ACCESS, OK, OK)
OWNED = (UNAUTHORIZED, NO_GROUP, NO_GROUP, NO_PERMISSION, NO_PERMISSION, NO_PERMISSION, NO_PERMISSION, OK)
OF_WEBHOOK = (UNAUTHORIZED, NO_WEBHOOK, NO_WEBHOOK, NO_PERMISSION, NO_PERMISSION, OK, OK, OK)
HIDDEN_WEBHOOK = (UNAUTHORIZED, NO_WEBHOOK, NO_WEBHOOK, NO_ACCESS, NO_ACCESS, NO_ACCESS, OK, OK)
ABOVE = (UNAUTHORIZED, NO_GROUP, NO_GROUP, NO_PERMISSION, NO_PERMISSION, NO_PERMISSION, OK, OK)
"""What is above the moderator and below the admin."""


@dataclass
class Scene:
    """A group with a caller of each kind."""

    replica: Replica
    group: int
    tokens: dict[str, str]
    ids: dict[str, int]
    roles: dict[str, int]
    names: count[int] = field(default_factory=count)

    @property
    def path(self) -> str:
        """Return the group's path."""
        return f"/guilds/{self.group}"

    async def as_owner(self, method: str, path: str, body: Json = None) -> Json:
        """Do something that is permitted; return the answer."""
        answer = await self.replica.call(method, path, self.tokens["owner"], body)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    async def new_user(self) -> int:
        """Register somebody."""
        return (await self.replica.register(f"user {next(self.names)}"))[1]

    async def new_member(self, *roles: str) -> int:
        """Put somebody new into the group."""
        user = await self.new_user()
        await self.as_owner("PUT", f"{self.path}/members/{user}", {"roles": [str(self.roles[one]) for one in roles]})
        return user

    async def new_role(self) -> int:
        """Add a role, below all others."""
        return int((await self.as_owner("POST", f"{self.path}/roles", {"name": "x"}))["id"])

    async def new_channel(self, *, hidden: bool = False) -> int:
        """Add a channel; a hidden one is seen by owner and administrators only."""
        denied = {"id": str(self.group), "type": 0, "deny": str(int(Permission.VIEW_CHANNEL))}
        body = {"name": "x", "permission_overwrites": [denied] if hidden else []}
        return int((await self.as_owner("POST", f"{self.path}/channels", body))["id"])

    async def new_webhook(self, channel: int) -> str:
        """Make a webhook; return its path."""
        made = await self.as_owner("POST", f"/channels/{channel}/webhooks", {"name": "hook"})
        return f"/webhooks/{made['id']}"


async def open_scene(replica: Replica) -> Scene:
    """Make the group and its people."""
    tokens, ids = {"nobody": ""}, {}
    for kind in KINDS[1:]:
        tokens[kind], ids[kind] = await replica.register(kind)
    group, _ = await replica.create_group(tokens["owner"], "Room")
    scene = Scene(replica, group, tokens, ids, {})
    for name, permissions in (("admin", Permission.ADMINISTRATOR), ("moderator", MODERATOR)):
        made = await scene.as_owner("POST", f"{scene.path}/roles", {"name": name, "permissions": str(int(permissions))})
        scene.roles[name] = int(made["id"])
    for kind in ("member", "timed out", "moderator", "admin"):
        roles = [str(scene.roles[{"timed out": "moderator"}.get(kind, kind)])] if kind != "member" else []
        await scene.as_owner("PUT", f"{scene.path}/members/{ids[kind]}", {"roles": roles})
    muted = {"communication_disabled_until": "2025-10-10T00:00:00+00:00"}
    await scene.as_owner("PATCH", f"{scene.path}/members/{ids['timed out']}", muted)
    await scene.as_owner("PUT", f"{scene.path}/bans/{ids['banned']}")
    return scene


Case = Callable[[Scene], Awaitable[tuple[str, str, Json]]]
CASES: dict[str, tuple[Case, tuple[int, ...]]] = {}


def case(expected: tuple[int, ...]) -> Callable[[Case], Case]:
    """Add a case to the table: what is called, and what each kind is told."""

    def add(made: Case) -> Case:
        CASES[made.__name__] = made, expected
        return made

    return add


@case(IN_GROUP)
async def get_guild(scene: Scene) -> tuple[str, str, Json]:
    """Read the group."""
    return "GET", scene.path, None


@case(MODERATED)
async def change_guild(scene: Scene) -> tuple[str, str, Json]:
    """Change the group."""
    fields = {"name": f"room {next(scene.names)}", "description": "tea", "public": True, "icon": None}
    return "PATCH", scene.path, fields | {"system_channel_id": str(await scene.new_channel()), "afk_timeout": 60}


@case(OWNED)
async def hand_guild_over(scene: Scene) -> tuple[str, str, Json]:
    """Make another member the owner."""
    return "PATCH", scene.path, {"owner_id": str(scene.ids["moderator"])}


@case((UNAUTHORIZED, NO_GROUP, NO_GROUP, *[NO_PERMISSION] * 2, NO_ACCESS, OK, OK))
async def tell_in_hidden_channel(scene: Scene) -> tuple[str, str, Json]:
    """Have a channel told of joins that the moderator does not see."""
    return "PATCH", scene.path, {"system_channel_id": str(await scene.new_channel(hidden=True))}


@case(OWNED)
async def delete_guild(scene: Scene) -> tuple[str, str, Json]:
    """Delete the group."""
    return "DELETE", scene.path, None


@case(OWNED)
async def delete_guild_by_older_path(scene: Scene) -> tuple[str, str, Json]:
    """Delete the group by the older path."""
    return "POST", f"{scene.path}/delete", {}


@case(IN_GROUP)
async def list_roles(scene: Scene) -> tuple[str, str, Json]:
    """Read roles."""
    return "GET", f"{scene.path}/roles", None


@case(IN_GROUP)
async def get_role(scene: Scene) -> tuple[str, str, Json]:
    """Read a role."""
    return "GET", f"{scene.path}/roles/{scene.group}", None


@case(MODERATED)
async def create_role(scene: Scene) -> tuple[str, str, Json]:
    """Add a role."""
    return "POST", f"{scene.path}/roles", {"name": "new"}


@case(OWNED)
async def create_admin_role(scene: Scene) -> tuple[str, str, Json]:
    """Add a role that may more than a moderator; an administrator may all that there is."""
    return "PATCH", f"{scene.path}/roles/{scene.roles['admin']}", {"name": "new"}


@case(ABOVE)
async def create_strong_role(scene: Scene) -> tuple[str, str, Json]:
    """Add a role that may what the moderator may not."""
    return "POST", f"{scene.path}/roles", {"permissions": str(int(Permission.MENTION_EVERYONE))}


@case(MODERATED)
async def change_role(scene: Scene) -> tuple[str, str, Json]:
    """Change a role below."""
    return "PATCH", f"{scene.path}/roles/{await scene.new_role()}", {"name": "new"}


@case(MODERATED)
async def change_everyone(scene: Scene) -> tuple[str, str, Json]:
    """Change what everybody may."""
    return "PATCH", f"{scene.path}/roles/{scene.group}", {"permissions": str(3072 + (next(scene.names) % 2 << 6))}


@case(ABOVE)
async def change_own_role(scene: Scene) -> tuple[str, str, Json]:
    """Change a moderator's role: nobody touches what is not below."""
    return "PATCH", f"{scene.path}/roles/{scene.roles['moderator']}", {"color": next(scene.names)}


@case(MODERATED)
async def move_roles(scene: Scene) -> tuple[str, str, Json]:
    """Order roles below."""
    one, other = await scene.new_role(), await scene.new_role()
    return "PATCH", f"{scene.path}/roles", [{"id": str(one), "position": 1}, {"id": str(other), "position": 1}]


@case(OWNED)
async def raise_role(scene: Scene) -> tuple[str, str, Json]:
    """Move a role above the admin's."""
    return "PATCH", f"{scene.path}/roles", [{"id": str(await scene.new_role()), "position": 200}]


@case(MODERATED)
async def delete_role(scene: Scene) -> tuple[str, str, Json]:
    """Delete a role below."""
    return "DELETE", f"{scene.path}/roles/{await scene.new_role()}", None


@case(MODERATED)
async def give_role(scene: Scene) -> tuple[str, str, Json]:
    """Give a role below."""
    return "PUT", f"{scene.path}/members/{await scene.new_member()}/roles/{await scene.new_role()}", None


@case(ABOVE)
async def give_own_role(scene: Scene) -> tuple[str, str, Json]:
    """Make another moderator."""
    return "PUT", f"{scene.path}/members/{await scene.new_member()}/roles/{scene.roles['moderator']}", None


@case(ABOVE)
async def take_own_role(scene: Scene) -> tuple[str, str, Json]:
    """Make a moderator none."""
    member = await scene.new_member("moderator")
    return "DELETE", f"{scene.path}/members/{member}/roles/{scene.roles['moderator']}", None


@case(IN_GROUP)
async def list_members(scene: Scene) -> tuple[str, str, Json]:
    """Read members."""
    return "GET", f"{scene.path}/members", None


@case(IN_GROUP)
async def get_member(scene: Scene) -> tuple[str, str, Json]:
    """Read a member."""
    return "GET", f"{scene.path}/members/{scene.ids['owner']}", None


@case((UNAUTHORIZED, NO_GROUP, NO_GROUP, OK, NO_PERMISSION, OK, OK, OK))
async def change_own_member(scene: Scene) -> tuple[str, str, Json]:
    """Change the own nick; nobody does in a timeout."""
    return "PATCH", f"{scene.path}/members/@me", {"nick": f"nick {next(scene.names)}"}


@case(MODERATED)
async def change_nick(scene: Scene) -> tuple[str, str, Json]:
    """Change the nick of a member."""
    return "PATCH", f"{scene.path}/members/{await scene.new_member()}", {"nick": "new"}


@case(ABOVE)
async def change_nick_of_moderator(scene: Scene) -> tuple[str, str, Json]:
    """Change the nick of a moderator."""
    return "PATCH", f"{scene.path}/members/{await scene.new_member('moderator')}", {"nick": "new"}


@case((UNAUTHORIZED, NO_GROUP, NO_GROUP, *[NO_PERMISSION] * 4, OK))
async def change_nick_of_owner(scene: Scene) -> tuple[str, str, Json]:
    """Change the nick of the owner, which only the owner does."""
    return "PATCH", f"{scene.path}/members/{scene.ids['owner']}", {"nick": f"nick {next(scene.names)}"}


@case(MODERATED)
async def time_out(scene: Scene) -> tuple[str, str, Json]:
    """Time a member out."""
    until = {"communication_disabled_until": "2025-10-10T00:00:00+00:00"}
    return "PATCH", f"{scene.path}/members/{await scene.new_member()}", until


@case((UNAUTHORIZED, NO_GROUP, NO_GROUP, *[NO_PERMISSION] * 5))
async def time_out_admin(scene: Scene) -> tuple[str, str, Json]:
    """Time an administrator out, which nobody can."""
    until = {"communication_disabled_until": "2025-10-10T00:00:00+00:00"}
    return "PATCH", f"{scene.path}/members/{await scene.new_member('admin')}", until


@case(MODERATED)
async def add_member(scene: Scene) -> tuple[str, str, Json]:
    """Put a user into the group."""
    return "PUT", f"{scene.path}/members/{await scene.new_user()}", {}


@case(MODERATED)
async def kick_member(scene: Scene) -> tuple[str, str, Json]:
    """Kick a member."""
    return "DELETE", f"{scene.path}/members/{await scene.new_member()}", None


@case(OWNED)
async def kick_admin(scene: Scene) -> tuple[str, str, Json]:
    """Kick an administrator: also another one can't."""
    return "DELETE", f"{scene.path}/members/{await scene.new_member('admin')}", None


@case(MODERATED)
async def list_bans(scene: Scene) -> tuple[str, str, Json]:
    """Read bans."""
    return "GET", f"{scene.path}/bans", None


@case(MODERATED)
async def get_ban(scene: Scene) -> tuple[str, str, Json]:
    """Read a ban."""
    return "GET", f"{scene.path}/bans/{scene.ids['banned']}", None


@case(MODERATED)
async def ban_user(scene: Scene) -> tuple[str, str, Json]:
    """Ban a user who is no member."""
    return "PUT", f"{scene.path}/bans/{await scene.new_user()}", {"delete_message_seconds": 5}


@case(ABOVE)
async def ban_moderator(scene: Scene) -> tuple[str, str, Json]:
    """Ban a moderator."""
    return "PUT", f"{scene.path}/bans/{await scene.new_member('moderator')}", None


@case((UNAUTHORIZED, NO_GROUP, NO_GROUP, *[NO_PERMISSION] * 5))
async def ban_owner(scene: Scene) -> tuple[str, str, Json]:
    """Ban the owner, which nobody can."""
    return "PUT", f"{scene.path}/bans/{scene.ids['owner']}", None


@case(MODERATED)
async def lift_ban(scene: Scene) -> tuple[str, str, Json]:
    """Lift a ban."""
    user = await scene.new_user()
    await scene.as_owner("PUT", f"{scene.path}/bans/{user}")
    return "DELETE", f"{scene.path}/bans/{user}", None


@case(IN_GROUP)
async def list_channels(scene: Scene) -> tuple[str, str, Json]:
    """Read channels."""
    return "GET", f"{scene.path}/channels", None


@case(MODERATED)
async def create_channel(scene: Scene) -> tuple[str, str, Json]:
    """Add a channel."""
    return "POST", f"{scene.path}/channels", {"name": "new", "type": 4}


@case(MODERATED)
async def move_channels(scene: Scene) -> tuple[str, str, Json]:
    """Place channels."""
    return "PATCH", f"{scene.path}/channels", [{"id": str(await scene.new_channel()), "position": 0}]


@case(IN_GROUP)
async def list_emojis(scene: Scene) -> tuple[str, str, Json]:
    """Read what there is none of."""
    return "GET", f"{scene.path}/emojis", None


@case(SEEN)
async def get_channel(scene: Scene) -> tuple[str, str, Json]:
    """Read a channel."""
    return "GET", f"/channels/{await scene.new_channel()}", None


@case(HIDDEN)
async def get_hidden_channel(scene: Scene) -> tuple[str, str, Json]:
    """Read a channel that is hidden from everybody."""
    return "GET", f"/channels/{await scene.new_channel(hidden=True)}", None


@case(MANAGED)
async def change_channel(scene: Scene) -> tuple[str, str, Json]:
    """Change a channel."""
    return "PATCH", f"/channels/{await scene.new_channel()}", {"topic": "new", "rate_limit_per_user": 5}


@case(HIDDEN)
async def change_hidden_channel(scene: Scene) -> tuple[str, str, Json]:
    """Change a channel that is hidden from everybody."""
    return "PATCH", f"/channels/{await scene.new_channel(hidden=True)}", {"topic": "new"}


@case(MANAGED)
async def delete_channel(scene: Scene) -> tuple[str, str, Json]:
    """Delete a channel."""
    return "DELETE", f"/channels/{await scene.new_channel()}", None


@case(MANAGED)
async def delete_system_channel(scene: Scene) -> tuple[str, str, Json]:
    """Delete the channel that is told who joins."""
    channel = await scene.new_channel()
    await scene.as_owner("PATCH", scene.path, {"system_channel_id": str(channel)})
    return "DELETE", f"/channels/{channel}", None


@case(MANAGED)
async def put_overwrite(scene: Scene) -> tuple[str, str, Json]:
    """Say what everyone may do in a channel."""
    return "PUT", f"/channels/{await scene.new_channel()}/permissions/{scene.group}", {"type": 0, "deny": "1024"}


@case((UNAUTHORIZED, NO_ACCESS, NO_ACCESS, *[NO_PERMISSION] * 3, OK, OK))
async def put_strong_overwrite(scene: Scene) -> tuple[str, str, Json]:
    """Allow what the moderator may not do."""
    allowed = {"type": 0, "allow": str(int(Permission.MENTION_EVERYONE))}
    return "PUT", f"/channels/{await scene.new_channel()}/permissions/{scene.group}", allowed


@case(MANAGED)
async def drop_overwrite(scene: Scene) -> tuple[str, str, Json]:
    """Say nothing more of everyone in a channel."""
    channel = await scene.new_channel()
    await scene.as_owner("PUT", f"/channels/{channel}/permissions/{scene.group}", {"type": 0, "deny": "2048"})
    return "DELETE", f"/channels/{channel}/permissions/{scene.group}", None


@case(SEEN_UNMUTED)
async def create_invite(scene: Scene) -> tuple[str, str, Json]:
    """Invite into a channel."""
    return "POST", f"/channels/{await scene.new_channel()}/invites", {"unique": True}


@case(HIDDEN)
async def create_hidden_invite(scene: Scene) -> tuple[str, str, Json]:
    """Invite into a channel that few see."""
    return "POST", f"/channels/{await scene.new_channel(hidden=True)}/invites", {"unique": True}


@case(MANAGED)
async def list_channel_invites(scene: Scene) -> tuple[str, str, Json]:
    """Read a channel's invites."""
    return "GET", f"/channels/{await scene.new_channel()}/invites", None


@case(MODERATED)
async def list_guild_invites(scene: Scene) -> tuple[str, str, Json]:
    """Read a group's invites."""
    return "GET", f"{scene.path}/invites", None


@case(IN_GROUP)
async def find_members(scene: Scene) -> tuple[str, str, Json]:
    """Look for members by name."""
    return "GET", f"{scene.path}/members/search?query=a&limit=5", None


@case(MODERATED)
async def ban_users(scene: Scene) -> tuple[str, str, Json]:
    """Ban several at once."""
    return "POST", f"{scene.path}/bulk-ban", {"user_ids": [str(await scene.new_member()), str(await scene.new_user())]}


@case(ABOVE)
async def read_audit_log(scene: Scene) -> tuple[str, str, Json]:
    """Read who did what: a moderator here may not."""
    return "GET", f"{scene.path}/audit-logs", None


@case(MODERATED)
async def delete_invite(scene: Scene) -> tuple[str, str, Json]:
    """Close an invite."""
    made = await scene.as_owner("POST", f"/channels/{await scene.new_channel()}/invites", {"unique": True})
    return "DELETE", f"/invites/{made['code']}", None


@case(MANAGED)
async def create_webhook(scene: Scene) -> tuple[str, str, Json]:
    """Make a webhook."""
    return "POST", f"/channels/{await scene.new_channel()}/webhooks", {"name": "deploys"}


@case(HIDDEN)
async def create_hidden_webhook(scene: Scene) -> tuple[str, str, Json]:
    """Make a webhook of a channel that few see."""
    return "POST", f"/channels/{await scene.new_channel(hidden=True)}/webhooks", {"name": "deploys"}


@case(MANAGED)
async def list_channel_webhooks(scene: Scene) -> tuple[str, str, Json]:
    """Read a channel's webhooks."""
    return "GET", f"/channels/{await scene.new_channel()}/webhooks", None


@case(MODERATED)
async def list_guild_webhooks(scene: Scene) -> tuple[str, str, Json]:
    """Read a group's webhooks."""
    return "GET", f"{scene.path}/webhooks", None


@case(OF_WEBHOOK)
async def get_webhook(scene: Scene) -> tuple[str, str, Json]:
    """Read a webhook."""
    return "GET", await scene.new_webhook(await scene.new_channel()), None


@case(HIDDEN_WEBHOOK)
async def get_hidden_webhook(scene: Scene) -> tuple[str, str, Json]:
    """Read a webhook of a channel that few see."""
    return "GET", await scene.new_webhook(await scene.new_channel(hidden=True)), None


@case(OF_WEBHOOK)
async def change_webhook(scene: Scene) -> tuple[str, str, Json]:
    """Rename a webhook."""
    return "PATCH", await scene.new_webhook(await scene.new_channel()), {"name": "builds"}


@case((UNAUTHORIZED, NO_WEBHOOK, NO_WEBHOOK, *[NO_PERMISSION] * 2, NO_ACCESS, OK, OK))
async def move_webhook(scene: Scene) -> tuple[str, str, Json]:
    """Let a webhook write into a channel that few see."""
    path = await scene.new_webhook(await scene.new_channel())
    return "PATCH", path, {"channel_id": str(await scene.new_channel(hidden=True))}


@case(OF_WEBHOOK)
async def delete_webhook(scene: Scene) -> tuple[str, str, Json]:
    """Delete a webhook."""
    return "DELETE", await scene.new_webhook(await scene.new_channel()), None


@pytest.mark.parametrize("name", CASES)
async def test_each_caller_may_what_it_may(world: World, groups: Replica, name: str) -> None:
    """Each kind of caller gets what the table says; who is refused has changed nothing."""
    scene = await open_scene(groups)
    prepare, expected = CASES[name]
    told = []
    for kind in KINDS:
        method, path, body = await prepare(scene)
        before = (await world.streams.read_head(group_stream(scene.group))).seq
        answer = await groups.call(method, path, scene.tokens[kind], body)
        after = (await world.streams.read_head(group_stream(scene.group))).seq
        is_done = answer.status_code < 300
        assert is_done or after == before, "a refused call has changed something"
        if is_done:
            assert (after > before) == (method != "GET"), answer.text
        told.append(OK if is_done else answer.json()["code"] or answer.status_code)
    assert dict(zip(KINDS, told, strict=True)) == dict(zip(KINDS, expected, strict=True))
