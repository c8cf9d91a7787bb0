"""The HTTP shell: every wrong request has an exact answer in Discord's shape, and nothing grows or hangs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any, Literal

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel, Field
from starlette.responses import Response
from structlog.testing import capture_logs

from shared.bus import BusUnavailable
from shared.core.errors import RateLimited, Unauthorized
from shared.core.group_errors import UnknownChannel
from shared.http import Probe, create_app
from shared.http_edge import leave_turn
from shared.lifecycle import bind_socket, open_server
from shared.metrics import Metrics
from shared.settings import HttpSettings
from shared.snowflakes import Snowflake
from shared.streams import StoreUnavailable

JSON = {"Content-Type": "application/json"}


class Account(BaseModel):
    """A body with a field of each kind."""

    username: Annotated[str, Field(min_length=2, max_length=32)]
    age: Annotated[int, Field(ge=0, le=150)] = 0
    kind: Literal["person", "bot"] = "person"
    admin: bool = False
    tags: list[Annotated[str, Field(max_length=3)]] = []
    about: dict[str, str] = {}


def routes() -> APIRouter:
    """Return routes that accept, refuse, break and hang."""
    router = APIRouter()

    @router.post("/accounts")
    async def create(account: Account) -> Account:
        return account

    @router.get("/channels/{channel_id}")
    async def read(channel_id: Snowflake, limit: Annotated[int, Field(ge=1, le=100)] = 50) -> dict[str, str]:
        return {"id": str(channel_id), "limit": str(limit)}

    @router.get("/failures/{name}")
    async def fail(name: str) -> None:
        raise {
            "unknown": UnknownChannel(),
            "token": Unauthorized(),
            "rate": RateLimited(retry_after=1.25),
            "store": StoreUnavailable("MongoDB: no answer"),
            "bus": BusUnavailable("closed"),
        }.get(name, ZeroDivisionError("secret content"))

    @router.get("/hang")
    async def hang() -> None:
        await asyncio.Event().wait()

    @router.get("/lasting")
    async def last(request: Request) -> str:
        leave_turn(request.scope)
        await asyncio.sleep(0.2)
        return "whole"

    @router.get("/large")
    async def fill() -> Response:
        return Response(b"x" * 20_000_000)

    @router.post("/bytes")
    async def count(request: Request) -> int:
        return sum([len(part) async for part in request.stream()])

    return router


def app_of(*, probes: dict[str, Probe] | None = None, **settings: Any) -> FastAPI:
    """Return an app with the routes above."""
    return create_app(HttpSettings(**settings), metrics=Metrics(), routers=[routes()], probes=probes)


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client that calls the app without a socket."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


@asynccontextmanager
async def served(app: FastAPI, settings: HttpSettings) -> AsyncIterator[int]:
    """Yield the port of an app that is served by uvicorn."""
    bound = bind_socket(settings)
    async with open_server(app, settings, bound):
        yield bound.getsockname()[1]


def field(path: str, code: str, message: str) -> dict[str, Any]:
    """Return the body that names one wrong field."""
    errors: dict[str, Any] = {"_errors": [{"code": code, "message": message}]}
    for part in reversed(path.split(".") if path else []):
        errors = {part: errors}
    return {"message": "Invalid Form Body", "code": 50035, "errors": errors}


BAD_JSON = {"message": "The request body contains invalid JSON.", "code": 50109}
WRONG_BODIES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "missing": (b"{}", field("username", "BASE_TYPE_REQUIRED", "This field is required")),
    "short": (b'{"username": "a"}', field("username", "BASE_TYPE_BAD_LENGTH", "Must be 2 or more in length.")),
    "long": (
        b'{"username": "%s"}' % (b"a" * 33),
        field("username", "BASE_TYPE_BAD_LENGTH", "Must be 32 or fewer in length."),
    ),
    "no string": (
        b'{"username": 5}',
        field("username", "STRING_TYPE_CONVERT", "Could not interpret the value as string."),
    ),
    "null": (
        b'{"username": null}',
        field("username", "STRING_TYPE_CONVERT", "Could not interpret the value as string."),
    ),
    "no number": (
        b'{"username": "ada", "age": "x"}',
        field("age", "NUMBER_TYPE_COERCE", "The value is not a whole number."),
    ),
    "too large": (
        b'{"username": "ada", "age": 151}',
        field("age", "NUMBER_TYPE_MAX", "The value should be less than or equal to 150."),
    ),
    "too small": (
        b'{"username": "ada", "age": -1}',
        field("age", "NUMBER_TYPE_MIN", "The value should be greater than or equal to 0."),
    ),
    "no choice": (
        b'{"username": "ada", "kind": "cat"}',
        field("kind", "BASE_TYPE_CHOICES", "Value must be one of 'person' or 'bot'."),
    ),
    "no bool": (
        b'{"username": "ada", "admin": "maybe"}',
        field("admin", "BOOLEAN_TYPE_CONVERT", "Must be either true or false."),
    ),
    "no list": (
        b'{"username": "ada", "tags": 1}',
        field("tags", "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType"),
    ),
    "inside a list": (
        b'{"username": "ada", "tags": ["abc", "abcd"]}',
        field("tags.1", "BASE_TYPE_BAD_LENGTH", "Must be 3 or fewer in length."),
    ),
    "no object": (b'["ada"]', field("", "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")),
    "nothing": (b"", field("", "BASE_TYPE_REQUIRED", "This field is required")),
    "broken": (b'{"username":', BAD_JSON),
    "no JSON": (b"username=ada", BAD_JSON),
    "NaN": (b'{"username": "ada", "age": NaN}', BAD_JSON),
    "a number without end": (b'{"username": "ada", "age": %s}' % (b"9" * 5000), BAD_JSON),
    "lone surrogate": (rb'{"username": "a\ud800"}', BAD_JSON),
    "lone surrogate in a key": (rb'{"username": "ada", "about": {"\udc00": "x"}}', BAD_JSON),
    "surrogate in UTF-8": (b'{"username": "a\xed\xa0\x80"}', BAD_JSON),
    "no UTF-8": (b'{"username": "a\xff"}', BAD_JSON),
    "NUL": (rb'{"username": "a\u0000"}', BAD_JSON),
    "NUL in a key": (rb'{"username": "ada", "about": {"a\u0000": "x"}}', BAD_JSON),
    "NUL in an unknown field": (rb'{"username": "ada", "extra": [{"a": ["\u0000"]}]}', BAD_JSON),
    "deep": (b"[" * 50_000, BAD_JSON),
}


@pytest.mark.parametrize("name", WRONG_BODIES)
async def test_wrong_bodies_are_answered_400_and_say_which_field(name: str) -> None:
    """A body that is no JSON, or is not what the route takes, is answered in Discord's shape and never 500."""
    body, expected = WRONG_BODIES[name]
    async with client_of(app_of()) as client:
        answer = await client.post("/accounts", content=body, headers=JSON)
    assert (answer.status_code, answer.json()) == (400, expected)
    assert answer.headers["content-type"] == "application/json"


async def test_right_bodies_pass_whole_with_escapes_and_unknown_fields() -> None:
    """Text outside ASCII, escaped surrogate pairs and the letters of an escape pass; unknown fields are ignored."""
    async with client_of(app_of()) as client:
        answer = await client.post(
            "/accounts", content=rb'{"username": "\ud83d\ude00 \\u0000", "components": [], "tts": false}', headers=JSON
        )
    assert answer.status_code == 200
    assert answer.json()["username"] == "\N{GRINNING FACE} \\u0000"
    assert answer.headers["content-type"] == "application/json"


WRONG_REQUESTS: dict[str, tuple[str, str, int, dict[str, Any]]] = {
    "no route": ("GET", "/nowhere", 404, {"message": "404: Not Found", "code": 0}),
    "a slash too many": ("GET", "/channels/1/", 404, {"message": "404: Not Found", "code": 0}),
    "no such method": ("PUT", "/accounts", 405, {"message": "405: Method Not Allowed", "code": 0}),
    "no id": ("GET", "/channels/abc", 400, field("channel_id", "NUMBER_TYPE_COERCE", "The value is not a snowflake.")),
    "id of 20 digits": (
        *("GET", "/channels/99999999999999999999", 400),
        field("channel_id", "NUMBER_TYPE_COERCE", "The value is not a snowflake."),
    ),
    "query": (
        *("GET", "/channels/1?limit=101", 400),
        field("limit", "NUMBER_TYPE_MAX", "The value should be less than or equal to 100."),
    ),
    "NUL in the query": (
        *("GET", "/channels/1?q=%00", 400),
        field("", "STRING_TYPE_CONVERT", "Could not interpret the value as string."),
    ),
    "NUL in the path": (
        *("GET", "/channels/%00", 400),
        field("", "STRING_TYPE_CONVERT", "Could not interpret the value as string."),
    ),
    "no UTF-8 in the path": (
        *("GET", "/channels/%ff%ed%a0%80", 400),
        field("channel_id", "NUMBER_TYPE_COERCE", "The value is not a snowflake."),
    ),
    "refused": ("GET", "/failures/unknown", 404, {"message": "Unknown Channel", "code": 10003}),
    "no token": ("GET", "/failures/token", 401, {"message": "401: Unauthorized", "code": 0}),
    "store away": ("GET", "/failures/store", 503, {"message": "Service temporarily unavailable, try again", "code": 0}),
    "bus away": ("GET", "/failures/bus", 503, {"message": "Service temporarily unavailable, try again", "code": 0}),
    "broken": ("GET", "/failures/other", 500, {"message": "Internal server error", "code": 0}),
}


@pytest.mark.parametrize("name", WRONG_REQUESTS)
async def test_every_refusal_has_discords_shape(name: str) -> None:
    """Paths, methods, queries, refusals of the catalogue, outages and our own faults are told alike."""
    method, path, status, body = WRONG_REQUESTS[name]
    async with client_of(app_of()) as client:
        answer = await client.request(method, path)
    assert (answer.status_code, answer.json()) == (status, body)
    assert answer.headers["content-type"] == "application/json"


async def test_allowed_methods_are_named() -> None:
    """A 405 keeps the `Allow` header."""
    async with client_of(app_of()) as client:
        answer = await client.put("/accounts")
    assert answer.headers["allow"] == "POST"


async def test_a_rate_limit_tells_when_to_come_back() -> None:
    """A 429 has Retry-After in whole seconds, `retry_after` exact, and Via, without which discord.py gives up."""
    async with client_of(app_of()) as client:
        answer = await client.get("/failures/rate")
    assert answer.status_code == 429
    assert answer.json() == {
        "message": "You are being rate limited.",
        "code": 0,
        "retry_after": 1.25,
        "global": False,
    }
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["x-ratelimit-scope"] == "user"
    assert answer.headers["via"]


async def test_a_form_is_told_which_type_is_expected() -> None:
    """A body of another type than JSON is refused by name of the header, not by guesses about its fields."""
    async with client_of(app_of()) as client:
        answer = await client.post("/accounts", data={"username": "ada"})
    assert answer.status_code == 400
    assert answer.json()["errors"]["_errors"][0]["code"] == "CONTENT_TYPE_INVALID"


@pytest.mark.parametrize("path", ["/accounts", "/bytes"])
@pytest.mark.parametrize("told", [True, False])
async def test_a_body_over_the_limit_is_refused_while_it_comes(path: str, told: bool) -> None:
    """413 for a told length and for a stream without one, on a route that takes JSON and on one that streams."""
    settings = HttpSettings(port=0, max_body_bytes=1000)

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b'"' + b"x" * 98 + b'"'

    content: Any = b" " * 1001 if told else parts()
    app = create_app(settings, metrics=Metrics(), routers=[routes()])
    async with (
        served(app, settings) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        answer = await client.post(path, content=content, headers=JSON if path == "/accounts" else {})
        again = await client.get("/channels/1")
    assert (answer.status_code, answer.json()) == (413, {"message": "Request entity too large", "code": 40005})
    assert again.status_code == 200


async def test_a_body_at_the_limit_passes() -> None:
    """The limit itself is allowed."""
    async with client_of(app_of(max_body_bytes=1000)) as client:
        answer = await client.post("/bytes", content=b"x" * 1000)
    assert (answer.status_code, answer.json()) == (200, 1000)


async def test_a_request_over_its_deadline_is_answered_503() -> None:
    """A handler that hangs is cancelled at the deadline and the client may try again."""
    async with client_of(app_of(request_timeout=timedelta(milliseconds=20))) as client:
        answer = await client.get("/hang")
    assert (answer.status_code, answer.json()["code"]) == (503, 0)


async def test_more_requests_than_allowed_are_answered_503() -> None:
    """Requests at work are bounded; the one above the bound is refused at once, and there is room again later."""
    app = app_of(max_requests=1, request_timeout=timedelta(milliseconds=100))
    async with client_of(app) as client, asyncio.TaskGroup() as group:
        hanging = group.create_task(client.get("/hang"))
        await asyncio.sleep(0)  # lets the first one in
        refused = await client.get("/channels/1")
        await hanging
        assert (await client.get("/channels/1")).status_code == 200
    assert refused.status_code == 503


async def test_a_request_that_lasts_is_in_nobodys_way() -> None:
    """Who left its turn has no deadline, and others are served while it lasts."""
    app = app_of(max_requests=1, request_timeout=timedelta(milliseconds=100))
    async with client_of(app) as client, asyncio.TaskGroup() as group:
        lasting = group.create_task(client.get("/lasting"))
        await asyncio.sleep(0)  # lets the first one in
        assert (await client.get("/channels/1")).status_code == 200
        assert not lasting.done()
    answer = lasting.result()
    assert (answer.status_code, answer.json()) == (200, "whole")


async def test_our_faults_are_logged_with_their_place_and_not_told() -> None:
    """A 500 says nothing about its cause; the log has it, beside one canonical line for the request."""
    with capture_logs() as logs:
        async with client_of(app_of()) as client:
            answer = await client.get("/failures/other")
    assert "secret content" not in answer.text
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("request_failed", "error"),
        ("request_served", "info"),
    ]
    assert logs[1].items() >= {"method": "GET", "route": "/failures/{name}", "status": 500}.items()


async def test_readiness_names_the_part_that_is_not_ready() -> None:
    """`/readyz` asks every part within its deadline and says which one holds it back; `/healthz` asks none."""
    up = {"mongo": True, "bus": True}

    async def hang() -> bool:
        await asyncio.Event().wait()
        return True

    async def broken() -> bool:
        raise OSError

    def probe(name: str) -> Probe:
        async def ask() -> bool:
            return up[name]

        return ask

    probes = {name: probe(name) for name in up}
    async with client_of(app_of(probes=probes)) as client:
        ready = await client.get("/readyz")
        up["bus"] = False
        unready = await client.get("/readyz")
        alive = await client.get("/healthz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "parts": {"mongo": "ready", "bus": "ready"}})
    assert unready.status_code == 503
    assert unready.json() == {
        "code": 0,
        "message": "not ready",
        "ready": False,
        "parts": {"mongo": "ready", "bus": "not ready"},
    }
    assert alive.status_code == 200
    app = app_of(probes={"slow": hang, "broken": broken}, probe_timeout=timedelta(milliseconds=20))
    async with client_of(app) as client:
        answer = await client.get("/readyz")
    assert answer.json()["parts"] == {"slow": "no answer", "broken": "failed"}


async def test_metrics_count_requests_by_route_and_never_by_path() -> None:
    """Labels are the route's template, so that ids do not become label values."""
    async with client_of(app_of()) as client:
        await client.get("/channels/7")
        await client.get("/nowhere/7")
        text = (await client.get("/metrics")).text
    assert 'starling_http_request_seconds_count{method="GET",route="/channels/{channel_id}",status="200"} 1.0' in text
    assert 'starling_http_request_seconds_count{method="GET",route="unmatched",status="404"} 1.0' in text
    assert "starling_http_requests_in_flight 1.0" in text


async def test_documents_need_nothing_from_elsewhere() -> None:
    """`/docs` names only our own addresses, and each asset that it names is there."""
    async with client_of(app_of()) as client:
        page = await client.get("/docs")
        assets = [await client.get(f"/docs/{name}") for name in ("swagger-ui-bundle.js", "swagger-ui.css")]
        other = await client.get("/docs/main.py")
        schema = await client.get("/openapi.json")
    assert "://" not in page.text
    assert "/docs/swagger-ui-bundle.js" in page.text
    assert [(asset.status_code, len(asset.content) > 100_000) for asset in assets] == [(200, True)] * 2
    assert other.status_code == 404
    assert schema.json()["paths"]["/accounts"]["post"]["responses"].keys() == {"200", "4XX"}


async def _exchange(port: int, request: bytes) -> bytes:
    """Send bytes and return all that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"no HTTP at all\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 8000) for n in range(40)), 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", 408),
        (b"", 408),
    ],
    ids=["garbage", "head without end", "head that stops", "silence"],
)
async def test_what_never_becomes_a_request_is_answered_and_closed(request_bytes: bytes, status: int) -> None:
    """A connection can't grow or stay by never completing a head; the answer has the shape of every other error."""
    settings = HttpSettings(port=0, head_timeout=timedelta(milliseconds=200))
    async with served(create_app(settings, metrics=Metrics()), settings) as port:
        head, _, body = (await _exchange(port, request_bytes)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(body)["code"] == 0


async def test_a_connection_too_many_is_refused_and_there_is_room_again() -> None:
    """Connections are bounded: one more is answered 503 and closed; when one ends the next is served."""
    settings = HttpSettings(port=0, max_connections=1)
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with served(create_app(settings, metrics=Metrics()), settings) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        refused = await _exchange(port, b"")
        writer.write(request)
        served_first = await reader.read()
        writer.close()
        async with asyncio.timeout(10):
            while not (later := await _exchange(port, request)).startswith(b"HTTP/1.1 200 "):
                await asyncio.sleep(0.01)
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert json.loads(refused.partition(b"\r\n\r\n")[2])["code"] == 0
    assert served_first.startswith(b"HTTP/1.1 200 ")
    assert later


async def test_who_does_not_read_is_cut_off() -> None:
    """An answer that its client leaves unread for too long ends with its connection; who reads gets all of it."""
    settings = HttpSettings(port=0, max_connections=1, unread_timeout=timedelta(milliseconds=300))
    request = b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with served(create_app(settings, metrics=Metrics(), routers=[routes()]), settings) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)  # beyond it nothing is read
        writer.write(request)
        async with asyncio.timeout(10):
            while not (later := await _exchange(port, request)).startswith(b"HTTP/1.1 200 "):
                await asyncio.sleep(0.01)
        writer.close()
    assert later.count(b"x" * 1000) == 20_000


async def test_a_request_that_names_no_host_is_served() -> None:
    """HTTP/1.0 has no Host, and nobody here asks which address of ours was dialled."""
    settings = HttpSettings(port=0)
    async with served(create_app(settings, metrics=Metrics(), routers=[routes()]), settings) as port:
        answers = [
            await _exchange(port, b"GET %s HTTP/1.0\r\n\r\n" % path)
            for path in (b"/channels/1", b"/channels/1/", b"/openapi.json", b"/nowhere")
        ]
    assert [answer.split(b" ")[1] for answer in answers] == [b"200", b"404", b"200", b"404"]


async def test_a_connection_serves_many_requests_and_names_no_server() -> None:
    """Keep-alive works, also after an error, and no header tells what runs here."""
    settings = HttpSettings(port=0)
    app = create_app(settings, metrics=Metrics(), routers=[routes()])
    request = b"GET /channels/%s HTTP/1.1\r\nHost: x\r\n%s\r\n"
    async with served(app, settings) as port:
        text = await _exchange(port, request % (b"x", b"") + request % (b"1", b"Connection: close\r\n"))
    assert text.count(b"HTTP/1.1 400 ") == 1
    assert text.count(b"HTTP/1.1 200 ") == 1
    assert b"server:" not in text.lower()
