"""The plain page at `/`: what this is, and where to go.

Ring 4 (shell). One small document without scripts and without anything from elsewhere, light or dark as
the reader's system says.
"""

from __future__ import annotations

from html import escape
from string import Template

from fastapi import APIRouter
from starlette.responses import HTMLResponse

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Starling</title>
<link rel="icon" href="data:,">
<style>
:root { --ink: #1c2430; --quiet: #526070; --paper: #fbfaf7; --card: #ffffff; --line: #dcdfe4; --link: #0b57a4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaee; --quiet: #a5afbd; --paper: #14181f; --card: #1c222b; --line: #333c48; --link: #8fc1ff; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1.05rem/1.6 system-ui, sans-serif; }
main { max-width: 42rem; margin: 0 auto; padding: 4rem 1.25rem; }
h1 { margin: 0 0 .5rem; font-size: 2.4rem; line-height: 1.15; letter-spacing: -.02em; }
h2 { margin: 2.5rem 0 .5rem; font-size: 1.15rem; }
p { margin: 0 0 1rem; }
a { color: var(--link); text-underline-offset: .15em; }
a:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 2px; }
dl { margin: 1.5rem 0; border: 1px solid var(--line); border-radius: .6rem; background: var(--card); }
dl div { display: flex; flex-wrap: wrap; gap: 0 1rem; padding: .7rem 1rem; }
dl div + div { border-top: 1px solid var(--line); }
dt { flex: 0 0 8rem; color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
code, pre { font: .92em/1.5 ui-monospace, monospace; }
pre { margin: 0; padding: .9rem 1rem; overflow-x: auto; border: 1px solid var(--line); border-radius: .6rem;
  background: var(--card); }
</style>
</head>
<body>
<main>
<h1>Starling</h1>
<p>A self-hosted chat backend: one-to-one and group chat in real time, every message stored,
over WebSocket and REST, in the shape of Discord&rsquo;s API v10. This server is running.</p>
<dl>
<div><dt>API documents</dt><dd><a href="/docs">/docs</a> (<a href="/openapi.json">openapi.json</a>)</dd></div>
<div><dt>REST</dt><dd><code>$http/api/v10</code></dd></div>
<div><dt>Gateway</dt><dd><code>$gateway</code></dd></div>
<div><dt>Health</dt><dd><a href="/healthz">/healthz</a>, <a href="/readyz">/readyz</a>$metrics</dd></div>
</dl>
<h2>First steps</h2>
<p>Register a user; the answer holds the token that REST and the gateway ask for.</p>
<pre tabindex="0" aria-label="Command that registers a user"><code>curl $http/api/v10/auth/register \\
  -H 'Content-Type: application/json' \\
  -d '{"username": "ada", "password": "correct horse battery"}'</code></pre>
</main>
</body>
</html>
""")


def page(public_url: str, *, metrics: bool = True) -> APIRouter:
    """Return the route `/`; `public_url` is the front door as clients see it, http(s)://host[:port].

    `metrics` is whether they can be had there.
    """
    shown = escape(public_url)
    link = ',\n<a href="/metrics">/metrics</a>' if metrics else ""
    body = _PAGE.substitute(http=shown, gateway=shown.replace("http", "ws", 1) + "/gateway", metrics=link)
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def show_page() -> HTMLResponse:
        return HTMLResponse(body)

    return router
