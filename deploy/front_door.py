"""nginx as the front door: its configuration, from the table of routes and one template.

Deployment code. `python -m deploy.front_door` writes the files anew that it names (with --check it only compares
them); `make cluster` renders one for its own addresses. Every file works from nginx 1.22 on, but for names that are
resolved again and again (`FrontDoor.resolver`): 1.27.3.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.routes import ALIVE, HIDDEN, READY, ROUTES, SERVICES, Route
from shared.core.errors import BodyTooLarge, NotFound, StarlingError, Unavailable

FOLDER: Final = Path(__file__).parent
_TEMPLATE: Final = FOLDER / "nginx" / "front_door.conf.in"
_ORIGIN: Final = (
    "Made by `python -m deploy.front_door` from deploy/nginx/front_door.conf.in and deploy/routes.py: change those."
)

_LOGGED: Final = {
    "time": "$time_iso8601",
    "address": "$remote_addr",
    "method": "$request_method",
    "path": "$told_path",
    "status": "$status",
    "seconds": "$request_time",
    "bytes": "$bytes_sent",
    "upstream": "$upstream_addr",
    "upstream_seconds": "$upstream_response_time",
}
OTHER_FILES: Final = 512
"""Files that a worker opens beside one for each connection: logs, what it listens on."""
_REFUSALS: Final = {
    400: (400, StarlingError("400: Bad Request")),
    404: (404, NotFound()),
    408: (408, StarlingError("408: Request Timeout")),
    413: (413, BodyTooLarge()),
    414: (414, StarlingError("414: URI Too Long")),
    494: (431, StarlingError("431: Request Header Fields Too Large")),
    500: (500, StarlingError()),
    502: (503, Unavailable()),
    503: (503, Unavailable()),
    504: (503, Unavailable()),
}
"""nginx's number → what the client gets."""
_WEBHOOK_PATH: Final = "^(?<told>.*?/webhooks/[^/]*)/."
"""Whoever knows what comes behind a webhook's id may write by it. Also where the path is none that there is."""
_PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")


@dataclass(frozen=True)
class FrontDoor:
    """One nginx. Files are absolute paths; `stderr` is one, too."""

    listen: Sequence[str]
    """Ports, or host:port."""
    upstreams: Mapping[str, Sequence[str]]
    """Service → host:port of its processes. A name stands for all addresses that it has."""
    scratch: str
    """A folder that nginx may write to: pid and temporary files."""
    access_log: str
    error_log: str
    resolver: str = ""
    """A DNS server that is asked for the upstreams' names again and again; empty: once, at start."""
    behind: Sequence[str] = ()
    """Networks of proxies in front of this one, whose X-Forwarded-For and -Proto are believed."""
    user: str = ""
    """Who the workers are when nginx is started as root; empty: its default."""
    connections: int = 16384
    """Open connections per worker, those to the services included."""


FILES: Final = {
    # docker compose: a service's name has the address of each replica, also of those that --scale adds later.
    "nginx/compose.conf": FrontDoor(
        listen=("8080",),
        upstreams={service: (f"{service}:8080",) for service in SERVICES},
        scratch="/tmp",  # noqa: S108 (a container's own)
        access_log="/dev/stdout",
        error_log="stderr",
        resolver="127.0.0.11",
    ),
    # Kubernetes: a Service's name has one address for its life, and an ingress stands in front. In that folder, since
    # kustomize reads no others.
    "k8s/nginx.conf": FrontDoor(
        listen=("8080",),
        upstreams={service: (f"{service}:8080",) for service in SERVICES},
        scratch="/tmp",  # noqa: S108 (a container's own)
        access_log="/dev/stdout",
        error_log="stderr",
        behind=_PRIVATE,
    ),
}


def render(door: FrontDoor) -> str:
    """Return the text of a whole nginx.conf. Raises `ValueError` when a service has no address."""
    if missing := [service for service in SERVICES if not door.upstreams.get(service)]:
        raise ValueError(f"no address for {', '.join(missing)}")
    parts: dict[str, str | Iterable[str]] = {
        "origin": _ORIGIN,
        "user": [f"user {door.user};"] if door.user else [],
        "files": str(door.connections + OTHER_FILES),
        "connections": str(door.connections),
        "scratch": door.scratch,
        "access_log": door.access_log,
        "error_log": door.error_log,
        "log_format": json.dumps(_LOGGED),
        "behind": _behind(door.behind),
        "scheme": "$client_scheme" if door.behind else "$scheme",
        "resolver": _resolver(door.resolver),
        "upstreams": _upstreams(door),
        "listen": [f"listen {address};" for address in door.listen],
        "error_pages": [f"error_page {number} = /-/refused/{number};" for number in _REFUSALS],
        "hidden": [f"location = {path} {{ return 404; }}" for path in HIDDEN],
        "alive": ALIVE,
        "alive_body": json.dumps({"alive": True}),
        "readiness": _readiness(),
        "secret_paths": _block("map $uri $told_path", ["default $uri;", f'"~{_WEBHOOK_PATH}" "$told/-";']),
        "routes": _lines(_route(route, door.error_log) for route in ROUTES),
        "refusals": _refusals(),
    }
    return _filled(_TEMPLATE.read_text(), parts)


def _filled(template: str, parts: Mapping[str, str | Iterable[str]]) -> str:
    """Put each part in its place: a text within a line, lines instead of one, as deep as it stands."""
    out: list[str] = []
    for line in template.splitlines():
        whole = re.fullmatch(r"( *)@(\w+)@", line)
        part = parts[whole[2]] if whole else ""
        if whole and not isinstance(part, str):
            out += [f"{whole[1]}{one}".rstrip() for one in part]
        else:
            out.append(re.sub(r"@(\w+)@", lambda found: str(parts[found[1]]), line))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)) + "\n"


def _behind(networks: Sequence[str]) -> Iterator[str]:
    if not networks:
        return
    yield "# A proxy in front says who the client is and how it came; only from these networks is it believed."
    yield from (f"set_real_ip_from {network};" for network in networks)
    yield "real_ip_header X-Forwarded-For;"
    yield "real_ip_recursive on;"
    yield from _block("geo $realip_remote_addr $is_behind", ["default 0;", *(f"{network} 1;" for network in networks)])
    yield from _block(
        'map "$is_behind $http_x_forwarded_proto" $client_scheme',
        ["default $scheme;", '"1 http" http;', '"1 https" https;'],
    )


def _resolver(address: str) -> Iterator[str]:
    if not address:
        return
    yield "# Without it (and `resolve` below; nginx 1.27.3) names are looked up once, at start: replicas that are added"
    yield "# later get nothing, and after a restart under another address a service stays lost."
    yield f"resolver {address} valid=5s ipv6=off;"
    yield "resolver_timeout 3s;"


def _upstreams(door: FrontDoor) -> Iterator[str]:
    resolve = " resolve" if door.resolver else ""
    steered = dict.fromkeys((route.posts or route.service, route.by) for route in ROUTES if route.by)
    lasting = {route.service for route in ROUTES if route.quiet_s}
    for service in SERVICES:
        addresses = door.upstreams[service]
        # nginx takes a process that failed for sound when a request to it has ended well. A WebSocket does not end, so
        # one that came back would be given a connection each 2 s and no more; when the others die, nobody gets in.
        checks = "max_fails=0" if service in lasting else "max_fails=3 fail_timeout=2s"
        servers = [f"server {address} {checks}{resolve};" for address in addresses]
        kept = ["keepalive 64;", "keepalive_timeout 60s;"]
        yield from _block(f"upstream {service}", [f"zone {service} 256k;", "least_conn;", *servers, *kept])
        for by in (by for its, by in steered if its == service):
            # Consistent hashing takes all addresses of one name for one server, and gives them turns.
            method = f"hash ${by} consistent;" if len(addresses) > 1 else f"hash ${by};"
            name = _upstream_of(service, by)
            yield from _block(f"upstream {name}", [f"zone {name} 256k;", method, *servers, *kept])


def _upstream_of(service: str, by: str) -> str:
    return f"{service}_by_{by}" if by else service


def _readiness() -> Iterator[str]:
    for step, service in enumerate(SERVICES):
        asked, refused = f"/-/ready/{service}", f"@not_ready_{service}"
        yield from _block(
            f"location {f'@ready_{step}' if step else f'= {READY}'}",
            [f"auth_request {asked};", f"error_page 500 = {refused};", f"try_files /-/nothing @ready_{step + 1};"],
        )
        yield from _block(
            f"location = {asked}",
            [
                "internal;",
                f"proxy_pass http://{service}{READY};",
                "proxy_method GET;",
                "proxy_pass_request_body off;",
                'proxy_set_header Connection "";',
                'proxy_set_header Content-Length "";',
                "proxy_read_timeout 5s;",
            ],
        )
        yield f"location {refused} {{ return 503 '{_body(f'{service} is not ready', 0, ready=False)}'; }}"
    yield f"location @ready_{len(SERVICES)} {{ return 200 '{json.dumps({'ready': True})}'; }}"


def _route(route: Route, error_log: str) -> Iterator[str]:
    if route.posts:
        poster = _upstream_of(route.posts, route.by)
        lines = [f"set $owner {route.service};", f"if ($request_method = POST) {{ set $owner {poster}; }}"]
        lines.append("proxy_pass http://$owner;")
    else:
        lines = [f"proxy_pass http://{_upstream_of(route.service, route.by)};"]
    if route.is_secret:
        lines.append(f"error_log {error_log} emerg;")  # below that nginx tells the request's path
    if route.quiet_s:
        lines += [
            "proxy_set_header Upgrade $http_upgrade;",
            "proxy_set_header Connection $connection_upgrade;",
            "proxy_set_header Host $http_host;",
            "proxy_set_header X-Forwarded-For $remote_addr;",
            "proxy_buffering off;",
            "proxy_socket_keepalive on;",
            f"proxy_read_timeout {route.quiet_s}s;",
            f"proxy_send_timeout {route.quiet_s}s;",
        ]
    yield from _block(f'location ~ "{route.pattern}"', lines)


def _refusals() -> Iterator[str]:
    for number, (status, refusal) in _REFUSALS.items():
        yield from _block(
            f"location = /-/refused/{number}", ["internal;", f"return {status} '{_body(refusal.text, refusal.code)}';"]
        )


def _body(message: str, code: int, **more: object) -> str:
    return json.dumps({"message": message, "code": code, **more})


def _block(head: str, lines: Iterable[str]) -> Iterator[str]:
    yield f"{head} {{"
    yield from (f"    {line}" for line in lines)
    yield "}"


def _lines(blocks: Iterable[Iterable[str]]) -> Iterator[str]:
    for block in blocks:
        yield from block


def main(arguments: Sequence[str] | None = None) -> int:
    """Write `FILES`, or compare them: 1 when one is not as it would be made."""
    parser = argparse.ArgumentParser(prog="python -m deploy.front_door", description="Make nginx's files.")
    parser.add_argument("--check", action="store_true", help="write nothing; say which files are out of date")
    check = parser.parse_args(arguments).check
    stale = 0
    for name, door in FILES.items():
        path, text = FOLDER / name, render(door)
        if path.exists() and path.read_text() == text:
            continue
        stale += 1
        if not check:
            path.write_text(text)
        print(f"{'out of date' if check else 'written'}: {path}")
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
