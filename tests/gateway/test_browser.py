"""A real browser listens without a WebSocket: headless Chromium, with `listen.js` as its client."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from deploy.local.process import start_child
from tests.gateway.world import open_node, open_world
from tests.missing import go_without

SCRIPT = (Path(__file__).parent / "listen.js").read_text()
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


class Page:
    """The page that the browser opens, and what it tells of what it heard."""

    def __init__(self, token: str) -> None:
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.router = APIRouter()

        @self.router.get("/page")
        async def show() -> HTMLResponse:
            return HTMLResponse(f"<!doctype html><script>{SCRIPT}\nconst token = '{token}';{_TELLING}</script>")

        @self.router.post("/heard")
        async def take(request: Request) -> None:
            self.heard.put_nowait(await request.json())

    async def until(self, *wanted: str) -> list[str]:
        """Return what the browser heard until all of this: names of dispatches, of messages what they say."""
        heard: list[str] = []
        async with asyncio.timeout(30):
            while not set(wanted) <= set(heard):
                frame = await self.heard.get()
                heard.append(frame["d"]["content"] if frame["t"] == "MESSAGE_CREATE" else frame["t"])
        return heard


_TELLING = """
let telling = Promise.resolve();
const listening = listen("/api/v10/gateway/events", token, (frame) => {
  const body = JSON.stringify(frame);
  telling = telling.then(() =>
    fetch("/heard", { method: "POST", headers: { "Content-Type": "application/json" }, body }));
  if (frame.d?.content === "stop") listening.stop();
});
"""


async def test_a_browser_listens_and_goes_on_where_it_was(tmp_path: Path) -> None:
    """Frames arrive as they are said; after a cut the page asks again, misses nothing and hears nothing twice."""
    binary = shutil.which("chromium")
    if binary is None:
        go_without("chromium is not installed (Debian package chromium)")
    async with open_world() as world:
        ann, ben = world.register("ann"), world.register("ben")
        group, channel = await world.create_group(ann)
        await world.join(ben, group)
        page = Page(world.token(ben))
        async with open_node(world, routers=(page.router,)) as node:
            command = [binary, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"http://127.0.0.1:{node.port}/page"]
            env = os.environ | {"HOME": str(tmp_path)}
            browser = start_child("chromium", command, log=tmp_path / "chromium.log", env=env)
            try:
                assert await page.until("GUILD_CREATE") == ["READY", "GUILD_CREATE"]
                for content in ("grüß dich\n\n", "stop"):
                    await world.say(ann, channel, content)
                    assert await page.until(content) == [content]
                await world.say(ann, channel, "missed")
                assert sorted(await page.until("missed", "RESUMED")) == ["RESUMED", "missed"]
                await world.say(ann, channel, "live")
                assert await page.until("live") == ["live"]
            finally:
                await asyncio.to_thread(browser.terminate, 5)
