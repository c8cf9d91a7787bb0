"""REQUEST_GUILD_MEMBERS: what is asked for, and the chunks that answer it.

Ring 1 (core). A node holds the members of small groups and its own users only; members are read for each chunk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from services.gateway.core.frames import RequestMembers
from shared.core.model import Member, Presence
from shared.core.wire.members import member_of, presence_of
from shared.core.wire.values import Json, id_of

CHUNK: Final = 1000
"""Members of a chunk; the last one has up to as many more, who joined meanwhile."""
MOST_FOUND: Final = 100
"""Members that are asked for by id or by name."""
_NONCE_BYTES: Final = 32


def ids_of(request: RequestMembers) -> tuple[int, ...] | None:
    """Return the user ids that are asked for; None if it is not about ids."""
    if request.user_ids is None:
        return None
    asked = request.user_ids if isinstance(request.user_ids, list) else [request.user_ids]
    ids = (id_of(one) for one in asked[:MOST_FOUND])
    return tuple(dict.fromkeys(user_id for user_id in ids if user_id is not None))


def limit_of(request: RequestMembers) -> int:
    """Return how many members are asked for by name at most; 0: all of the group."""
    limit = max(request.limit or 0, 0)
    return min(limit or MOST_FOUND, MOST_FOUND) if request.query else limit


def chunks_of(member_count: int, limit: int) -> int:
    """Return in how many chunks a group of so many members is told, at most `limit` of them (0: all)."""
    told = min(member_count, limit) if limit else member_count
    return max(-(-told // CHUNK), 1)


def chunk_of(
    request: RequestMembers,
    group_id: int,
    members: Sequence[Member],
    index: int = 0,
    count: int = 1,
    ids: Sequence[int] | None = None,
    presences: Mapping[int, Presence] | None = None,
) -> Json:
    """Return a GUILD_MEMBERS_CHUNK. `ids`: who was asked for, so that those who are no members are named.

    `presences`: of those of the group's members who are known to be there, told where they are asked for.
    """
    chunk: Json = {
        "guild_id": str(group_id),
        "members": [member_of(member) for member in members],
        "chunk_index": index,
        "chunk_count": count,
    }
    if ids is not None:
        found = {member.user.id for member in members}
        chunk["not_found"] = [str(user_id) for user_id in ids if user_id not in found]
    if request.presences is True:
        there = ((one.user.id, (presences or {}).get(one.user.id)) for one in members)
        chunk["presences"] = [presence_of(user_id, group_id, one) for user_id, one in there if one is not None]
    return chunk | nonce_of(request)


def nonce_of(request: RequestMembers) -> Json:
    """Return what tells a request from others, for its answers."""
    nonce = request.nonce
    return {"nonce": nonce} if isinstance(nonce, str) and len(nonce.encode()) <= _NONCE_BYTES else {}


def refusal_of(request: RequestMembers, group_id: int, retry_after_s: float) -> Json:
    """Return a RATE_LIMITED: the request was dropped, and may be sent again after so many seconds."""
    return {"opcode": 8, "retry_after": retry_after_s, "meta": {"guild_id": str(group_id)} | nonce_of(request)}
