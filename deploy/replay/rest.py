"""REST calls of users, repeated until they are answered or their deadline has passed.

A client's shell: a broken connection, a 5xx and a 429 (after its `retry_after`) are tried again; every call here may
be repeated. Registration and creation of a group are made so by what follows when the name is found taken.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import httpx

Json = dict[str, Any]

_FIRST_WAIT_S: Final = 0.1
_LAST_WAIT_S: Final = 5.0
_TIMEOUT_S: Final = 20.0
"""Of one request: above the deadline of the services themselves, so that their own 503 comes first."""
_PAGE: Final = 100


class GaveUp(Exception):
    """Something did not come about before its deadline, or was refused for good; the text says what."""


class Refused(GaveUp):
    """A service refused a request for good."""

    def __init__(self, what: str, status: int, body: str) -> None:
        super().__init__(f"{what} was refused: {status} {body[:300]}")
        self.status = status
        self.body = body


@dataclass(frozen=True)
class Addresses:
    """Base addresses, http(s)://host:port: of the front door, or of each service where none stands before them."""

    groups: str
    history: str


@dataclass
class Counts:
    """What the client had to do beside what the log asks for."""

    retries: int = 0
    reconnects: int = 0
    told_to_reconnect: int = 0
    resumes: int = 0
    begun_anew: int = 0
    oldest_repeat_s: float = 0.0
    refetched: int = 0
    caught_up: int = 0
    seen_again: int = 0
    excused: int = 0


@dataclass(frozen=True)
class User:
    """A registered user."""

    id: int
    token: str


@dataclass(frozen=True)
class Group:
    """A group and its one channel."""

    id: int
    channel_id: int
    last_seq: int


def _messages(channel_id: int) -> str:
    return f"/channels/{channel_id}/messages"


def _user_of(body: Json) -> User:
    return User(int(body["user"]["id"]), body["token"])


def _group_of(body: Json) -> Group:
    (channel,) = body["channels"]
    return Group(int(body["id"]), int(channel["id"]), channel["last_seq"])


class Rest:
    """Makes requests; all raise `GaveUp` when `deadline_s` has passed, waits that a 429 told apart."""

    def __init__(self, client: httpx.AsyncClient, at: Addresses, counts: Counts, deadline_s: float) -> None:
        self._client = client
        self._at = at
        self._counts = counts
        self._deadline_s = deadline_s

    async def register(self, username: str, password: str) -> User:
        """Register a user; if an earlier try had come through unanswered, log in."""
        retries = self._counts.retries
        try:
            body = await self._request(
                "POST", self._at.groups, "/auth/register", json={"username": username, "password": password}
            )
        except Refused as refusal:
            if "USERNAME_ALREADY_TAKEN" not in refusal.body or self._counts.retries == retries:
                raise
            return await self.log_in(username, password)
        return _user_of(body)

    async def log_in(self, username: str, password: str) -> User:
        """Return a user with a new token."""
        body = {"login": username, "password": password}
        return _user_of(await self._request("POST", self._at.groups, "/auth/login", json=body))

    async def log_out(self, user: User) -> None:
        """Revoke a user's token; if an earlier try had come through unanswered, it is refused already."""
        retries = self._counts.retries
        try:
            await self._request("POST", self._at.groups, "/auth/logout", user)
        except Refused as refusal:
            if refusal.status != httpx.codes.UNAUTHORIZED or self._counts.retries == retries:
                raise

    async def keeps_out(self, user: User, channel_id: int | None = None) -> bool:
        """Ask once for a channel's messages, or for who one is; return whether the token was refused."""
        base, path = (
            (self._at.groups, "/users/@me") if channel_id is None else (self._at.history, _messages(channel_id))
        )
        answer = await self._once("GET", base, path, user)
        return answer is not None and answer.status_code == httpx.codes.UNAUTHORIZED

    async def create_group(self, owner: User, name: str) -> Group:
        """Create a public group; if an earlier try had come through unanswered, that one is taken."""
        retries = self._counts.retries
        try:
            body = await self._request("POST", self._at.groups, "/guilds", owner, json={"name": name, "public": True})
        except Refused as refusal:
            if "GUILD_NAME_ALREADY_TAKEN" not in refusal.body or self._counts.retries == retries:
                raise
            body = await self._request("POST", self._at.groups, "/guilds/join", owner, json={"name": name})
        return _group_of(body)

    async def join(self, user: User, name: str) -> Group:
        """Join a public group."""
        return _group_of(await self._request("POST", self._at.groups, "/guilds/join", user, json={"name": name}))

    async def open_direct(self, user: User, other: User) -> int:
        """Open the direct channel of two users; return its id."""
        body = await self._request(
            "POST", self._at.groups, "/users/@me/channels", user, json={"recipient_id": str(other.id)}
        )
        return int(body["id"])

    async def leave(self, user: User, group_id: int) -> None:
        """Leave a group."""
        await self._remove(user, f"/users/@me/guilds/{group_id}")

    async def delete_group(self, owner: User, group_id: int) -> None:
        """Delete a group of one's own."""
        await self._remove(owner, f"/guilds/{group_id}")

    async def kick(self, owner: User, group_id: int, user_id: int) -> None:
        """Remove a member from a group."""
        await self._remove(owner, f"/guilds/{group_id}/members/{user_id}")

    async def _remove(self, user: User, path: str) -> None:
        """Take somebody or something away; if an earlier try had come through unanswered, it is gone already.

        Such a try may be the front door's, which repeats a DELETE at the next node: so nobody here knows of it.
        """
        try:
            await self._request("DELETE", self._at.groups, path, user)
        except Refused as refusal:
            if refusal.status != httpx.codes.NOT_FOUND:
                raise

    async def send(self, user: User, channel_id: int, nonce: str, content: str) -> Json:
        """Send a message; a repeat with the same nonce answers the first."""
        body = {"content": content, "nonce": nonce, "enforce_nonce": True}
        message: Json = await self._request("POST", self._at.history, _messages(channel_id), user, json=body)
        return message

    async def change(self, user: User, channel_id: int, message_id: int, content: str | None) -> bool:
        """Ask once to edit a message, or to delete it (None); return whether it was answered as done."""
        path = f"{_messages(channel_id)}/{message_id}"
        body = None if content is None else {"content": content}
        return await self._did("DELETE" if content is None else "PATCH", path, user, body)

    async def react(self, user: User, channel_id: int, message_id: int, emoji: str, *, on: bool) -> bool:
        """Ask once to put a reaction on a message, or to take it back; return whether it was answered as done."""
        path = f"{_messages(channel_id)}/{message_id}/reactions/{quote(emoji)}/@me"
        return await self._did("PUT" if on else "DELETE", path, user)

    async def pin(self, user: User, channel_id: int, message_id: int, *, on: bool) -> bool:
        """Ask once to pin a message, or to unpin it; return whether it was answered as done."""
        return await self._did("PUT" if on else "DELETE", f"{_messages(channel_id)}/pins/{message_id}", user)

    async def pins(self, user: User, channel_id: int) -> list[Json]:
        """Return a channel's pinned messages."""
        pinned: list[Json] = await self._request("GET", self._at.history, f"/channels/{channel_id}/pins", user)
        return pinned

    async def look(self, user: User, channel_id: int) -> list[Json] | None:
        """Ask once for the latest messages, newest first; None if they were not shown."""
        answer = await self._once("GET", self._at.history, _messages(channel_id), user)
        return answer.json() if answer is not None and answer.is_success else None

    async def _did(self, method: str, path: str, user: User, json: Json | None = None) -> bool:
        answer = await self._once(method, self._at.history, path, user, json)
        return answer is not None and answer.is_success

    async def _once(
        self, method: str, base: str, path: str, user: User, json: Json | None = None
    ) -> httpx.Response | None:
        """Make a request once; None if it was not answered."""
        headers = {"Authorization": user.token}
        try:
            return await self._client.request(method, f"{base}/api/v10{path}", headers=headers, json=json)
        except (httpx.TransportError, AttributeError):
            return None

    async def events(self, user: User, channel_id: int, after_seq: int) -> tuple[list[Json], bool]:
        """Return a page of a channel's events, and whether there are more."""
        query = {"after_seq": str(after_seq), "limit": str(_PAGE)}
        page: Json = await self._request("GET", self._at.history, f"/channels/{channel_id}/events", user, params=query)
        return page["events"], page["has_more"]

    async def read_pages(self, user: User, channel_id: int, limit: int, *, is_backward: bool) -> list[Json]:
        """Read a channel's messages page by page, from either end; return them oldest first."""
        found: list[Json] = []
        cursor = {} if is_backward else {"after": "0"}
        while page := await self._page(user, channel_id, {**cursor, "limit": str(limit)}):
            if is_backward:
                found += page
                cursor = {"before": page[-1]["id"]}
            else:
                found += page[::-1]
                cursor = {"after": page[0]["id"]}
        return found[::-1] if is_backward else found

    async def _page(self, user: User, channel_id: int, query: Mapping[str, str]) -> list[Json]:
        path = _messages(channel_id)
        page: list[Json] = await self._request("GET", self._at.history, path, user, params=query)
        return page

    async def _request(
        self,
        method: str,
        base: str,
        path: str,
        user: User | None = None,
        *,
        json: Json | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Any:
        """Make a request below /api/v10 until it is answered; return the JSON of a good answer."""
        what = f"{method} {path}"
        headers = {"Authorization": user.token} if user is not None else {}
        last = "no answer"
        wait_s = _FIRST_WAIT_S
        try:
            async with asyncio.timeout(self._deadline_s) as deadline:
                while True:
                    try:
                        answer = await self._client.request(
                            method, f"{base}/api/v10{path}", headers=headers, json=json, params=params
                        )
                    except (httpx.TransportError, AttributeError) as error:
                        # AttributeError: anyio asks a socket that was reset in the moment it was opened for its peer.
                        last = repr(error)
                    else:
                        if answer.is_success:
                            return answer.json() if answer.content else None
                        last = f"{answer.status_code} {answer.text[:300]}"
                        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                            told_s = _retry_after_of(answer)
                            deadline.reschedule((deadline.when() or 0) + told_s)
                            await asyncio.sleep(told_s)
                        elif answer.is_client_error:
                            raise Refused(what, answer.status_code, answer.text)
                    self._counts.retries += 1
                    await asyncio.sleep(wait_s * random.uniform(0.5, 1))  # noqa: S311 (spreads clients, no secret)
                    wait_s = min(2 * wait_s, _LAST_WAIT_S)
        except TimeoutError:
            raise GaveUp(f"{what} was not answered within {self._deadline_s:g} s; last: {last}") from None


def _retry_after_of(answer: httpx.Response) -> float:
    try:
        return float(answer.json()["retry_after"])
    except (ValueError, KeyError, TypeError):
        return 1.0


def new_http_client() -> httpx.AsyncClient:
    """Return a client that takes no proxy from the environment and holds a bounded number of connections."""
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    return httpx.AsyncClient(timeout=_TIMEOUT_S, limits=limits, trust_env=False)
