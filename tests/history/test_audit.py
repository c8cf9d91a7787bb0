"""What history says in audit logs: who deleted others' messages, or pinned one, in a group; and why."""

from __future__ import annotations

from shared.core.audit import Action
from shared.core.permissions import ALL
from tests.history.world import ADA, BEN, CHANNEL, GROUP, open_world


async def test_what_moderators_do_to_messages() -> None:
    """One entry each, with the reason; what people do to their own is none, but for pins."""
    async with open_world() as world:
        world.permissions[BEN.id] = ALL
        ids = [(await world.post(ADA, content="x")).json()["id"] for _ in range(5)]
        path = f"/api/v10/channels/{CHANNEL.id}/messages"
        for method, rest, who, body in (
            ("DELETE", ids[0], ADA, None),
            ("DELETE", ids[1], BEN, None),
            ("PUT", f"pins/{ids[2]}", BEN, None),
            ("DELETE", f"pins/{ids[2]}", BEN, None),
            ("POST", "bulk-delete", BEN, {"messages": ids[2:4]}),
        ):
            headers = world.token(who) | {"X-Audit-Log-Reason": "tea%20time"}
            answer = await world.client.request(method, f"{path}/{rest}", headers=headers, json=body)
            assert answer.status_code == 204, answer.text
        entries = list(world.marks.entries.values())
    assert [(entry.action, entry.targets) for entry in entries] == [
        (Action.MESSAGE_DELETE, (ADA.id,)),
        (Action.MESSAGE_PIN, (ADA.id,)),
        (Action.MESSAGE_UNPIN, (ADA.id,)),
        (Action.MESSAGE_BULK_DELETE, (CHANNEL.id,)),
    ]
    assert {(entry.group_id, entry.by, entry.reason) for entry in entries} == {(GROUP, BEN.id, "tea time")}
