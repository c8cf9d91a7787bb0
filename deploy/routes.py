"""Which service owns which path: the front door's table, in one place.

Deployment code. docs/protocol.md lists the routes; here they are as ordered patterns, for every front door that
routes by path (deploy/nginx, deploy/local). tests/deploy holds them against the routers of the services.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

SERVICES: Final = ("gateway", "groups", "history")

HIDDEN: Final = ("/metrics",)
"""Served by each process, and by no front door: 404 there."""
ALIVE: Final = "/healthz"
"""Answered by the front door itself: it lives."""
READY: Final = "/readyz"
"""Answered by the front door for the whole: one replica of each service says that it may take traffic."""


class Route(NamedTuple):
    """Paths that match the pattern belong to the service.

    The pattern is anchored at its start, means the same to Python and to PCRE, and is matched against the decoded path.
    """

    pattern: str
    service: str
    quiet_s: int = 0
    """For how long nothing may come while a connection, or an answer, lasts for hours; 0: none does."""
    by: str = ""
    """What is the same goes to the same process while it lives: a named group of the pattern, or `http_{header}`."""
    posts: str = ""
    """Who gets its POSTs, and by `by`, if that is another service."""
    is_secret: bool = False
    """Whether the path is for nobody's log."""


ROUTES: Final = (
    # The gateway itself closes WebSockets that send no heartbeat.
    Route(r"^/gateway/?$", "gateway", quiet_s=3600),
    Route(r"^/gateway/s/(?P<slot>[0-9]{1,5})/?$", "gateway", quiet_s=3600, by="slot"),
    # A poll waits for 50 s at most, behind a session that opens in 20 s at most. Each goes where the last one went: a
    # session that moves with each poll costs its nodes much.
    Route(r"^/api/v10/gateway/events$", "gateway", quiet_s=75, by="http_authorization"),
    Route(r"^/api/v10/gateway(/|$)", "gateway"),
    Route(r"^/api/v10/channels/[^/]+/typing$", "gateway"),
    Route(r"^/api/v10/channels/[^/]+/(messages|events|pins|read-state)(/|$)", "history"),
    # A webhook's budget is counted by one process. What is sent to it, history stores; itself it is groups'.
    Route(
        r"^/api/v10/webhooks/(?P<webhook>[^/]+)/[^/]+/(messages(/|$)|slack$|github$)",
        "history",
        by="webhook",
        is_secret=True,
    ),
    Route(r"^/api/v10/webhooks/(?P<webhook>[^/]+)/", "groups", by="webhook", posts="history", is_secret=True),
    Route(r"^.*/webhooks/[^/]*/", "groups", is_secret=True),  # misspelt, and refused, but with a token all the same
    # All the rest, also what no one serves: groups refuses it in the API's own words.
    Route(r"^/", "groups"),
)
"""In order; the first that matches counts."""


def service_of(path: str, method: str = "GET") -> str:
    """Return the service that owns a decoded path; hidden and probe paths are the caller's to know."""
    route = next(route for route in ROUTES if re.search(route.pattern, path))
    return route.posts if route.posts and method == "POST" else route.service
