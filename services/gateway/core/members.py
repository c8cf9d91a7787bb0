"""Answering REQUEST_GUILD_MEMBERS from the members that a node knows by name.

Ring 1 (core). A node holds a bounded sample of a group and its own users; who wants all members pages
`GET /guilds/{id}/members`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.gateway.core.frames import RequestMembers
from services.gateway.core.state import LocalGroup, LocalUser
from shared.core.model import Member
from shared.core.roles import known_only
from shared.core.wire.members import member_of
from shared.core.wire.values import Json, id_of


def known_members(users: Mapping[int, LocalUser[Any]], group: LocalGroup[Any]) -> dict[int, Member]:
    """Return the members of a group that the node knows, by user id."""
    known = dict(group.members)
    for user_id in group.users:
        known[user_id] = users[user_id].groups[group.group.id].member
    return {user_id: known_only(member, group.roles) for user_id, member in known.items()}


def members_chunk(request: RequestMembers, group_id: int, known: Mapping[int, Member]) -> Json:
    """Return the GUILD_MEMBERS_CHUNK for a request: by ids, or by the beginning of a name."""
    chunk: Json = {"guild_id": str(group_id), "chunk_index": 0, "chunk_count": 1}
    if isinstance(request.nonce, str) and len(request.nonce.encode()) <= 32:
        chunk["nonce"] = request.nonce
    if request.user_ids is not None:
        asked = request.user_ids if isinstance(request.user_ids, list) else [request.user_ids]
        ids = [user_id for one in asked[:100] if (user_id := id_of(one)) is not None]
        chunk["members"] = [member_of(known[user_id]) for user_id in ids if user_id in known]
        chunk["not_found"] = [str(user_id) for user_id in ids if user_id not in known]
        return chunk
    beginning = (request.query or "").casefold()
    found = [member for member in known.values() if _is_named(member, beginning)]
    chunk["members"] = [member_of(member) for member in found[: max(request.limit or 0, 0) or None]]
    return chunk


def _is_named(member: Member, beginning: str) -> bool:
    names = (member.nick, member.user.global_name, member.user.username)
    return any(name is not None and name.casefold().startswith(beginning) for name in names)
