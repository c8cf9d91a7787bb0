"""The people whom the bots meet: they speak plain HTTP, without any library."""

from __future__ import annotations

import secrets
from typing import Any

import httpx

Json = dict[str, Any]


class Person:
    """A registered user."""

    def __init__(self, http: httpx.AsyncClient, user_id: str, token: str) -> None:
        self._http = http
        self._token = token
        self.id = user_id

    async def call(self, method: str, path: str, body: Json | None = None) -> Any:
        """Call a route and return its answer. Raises `httpx.HTTPStatusError` unless it is a good one."""
        answer = await self._http.request(method, f"/api/v10{path}", json=body, headers={"Authorization": self._token})
        answer.raise_for_status()
        return answer.json() if answer.content else None

    async def say(self, channel: str, content: str) -> str:
        """Send a message; return its id. A repeat after a failure is the same message."""
        body = {"content": content, "nonce": secrets.token_hex(8), "enforce_nonce": True}
        return str((await self.call("POST", f"/channels/{channel}/messages", body))["id"])


async def register(http: httpx.AsyncClient, name: str) -> Person:
    """Register a user under a name of their own."""
    body = {"username": f"{name}-{secrets.token_hex(4)}", "password": secrets.token_hex(12)}
    answer = await http.post("/api/v10/auth/register", json=body)
    answer.raise_for_status()
    return Person(http, answer.json()["user"]["id"], answer.json()["token"])
