"""The tables of docs/protocol.md, from the catalogue, the frames and the routes; limits are in `docs.limit_tables`.

What the code does not say of itself stands here by name (who sends a frame) or in `docs.refusals` (what a route refuses
beside what all refuse); a name that the code does not have, or one that is missing, is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from docs.markdown import code, first_line, table
from docs.refusals import REFUSALS
from services.gateway.core.frames import CloseCode, Op
from services.gateway.rest import router as gateway_router
from services.groups.app import router as groups_router
from services.history.app import router as history_router
from shared.core import errors
from shared.core.error_catalogue import CATALOGUE
from shared.http import create_app
from shared.metrics import Metrics
from shared.settings import HttpSettings

_FRAMES: Final = {
    Op.DISPATCH: ("server", "An event: its name is `t`, its payload `d`."),
    Op.HEARTBEAT: ("client", "I live. `d` is ignored. Answered by 11."),
    Op.IDENTIFY: ("client", "Begin a session. `{token, properties, intents?, shard?, presence?}`."),
    Op.PRESENCE_UPDATE: ("client", "Show me so: `{status, activities, since, afk}`; also `presence` in IDENTIFY."),
    Op.VOICE_STATE_UPDATE: ("client", "Accepted, without effect."),
    Op.RESUME: ("client", "Go on with a session, on any node. Answered by what was missed and RESUMED, or by 9."),
    Op.RECONNECT: ("server", "The node goes down: connect again. A close with 4000 follows."),
    Op.REQUEST_GUILD_MEMBERS: ("client", "`{guild_id, query, limit}` or `{guild_id, user_ids}`, `nonce?`."),
    Op.INVALID_SESSION: ("server", "The session can't go on (`d` is `false`): identify anew."),
    Op.HELLO: ("server", "The first frame. `{heartbeat_interval}` in ms."),
    Op.HEARTBEAT_ACK: ("server", "Answers 1."),
    Op.MESSAGE_SEND: ("client", "Send a message. Starling's own."),
    Op.SEND_ACK: ("server", "The message is stored. Starling's own."),
    Op.SEND_REJECT: ("server", "The message was refused. Starling's own."),
}

_THEN: Final = {"resume": "connect again", "identify": "connect again, identify", "never": "stop; a person must act"}


def opcodes() -> str:
    """Return all opcodes: number, name, who sends it, what it means."""
    rows = []
    for op in Op:
        sender, meaning = _FRAMES[op]
        rows.append((int(op), op.name, sender, meaning))
    return table(("op", "name", "from", "meaning"), rows)


def close_codes() -> str:
    """Return all close codes with what the client should do then."""
    rows = [(int(one), one.name, one.meaning, _THEN[one.then]) for one in CloseCode]
    return table(("code", "name", "meaning", "then"), rows)


def error_catalogue() -> str:
    """Return every error that a client can be told."""
    kinds: tuple[type[errors.StarlingError], ...] = (errors.InvalidForm, *CATALOGUE.values())
    rows = [
        (kind.code, kind.status, kind.__name__, kind.message, "yes" if kind.retryable else "", _when(kind))
        for kind in sorted(kinds, key=lambda kind: (kind.code, kind.status))
    ]
    return table(("code", "HTTP", "name", "message", "try again", "when"), rows)


def _when(kind: type) -> str:
    return first_line(kind.__doc__).partition(". ")[0].removesuffix(".") + "."


def routes() -> str:
    """Return the REST routes of all services, from their OpenAPI document."""
    routers = (groups_router, history_router, gateway_router)
    document = create_app(HttpSettings(), metrics=Metrics(), routers=routers).openapi()
    schemas = document["components"]["schemas"]
    rows = []
    names = set()
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            names.add(route["operationId"])
            rows.append(
                (
                    code(f"{method.upper()} {path.removeprefix('/api/v10')}"),
                    route["tags"][0],
                    "token" if "security" in route else "",
                    ", ".join(_inputs_of(route, schemas)),
                    next(iter(route["responses"])),
                    first_line(route["description"]),
                    ", ".join(f"{kind.code or kind.status}" for kind in REFUSALS[route["operationId"]]),
                )
            )
    if unknown := REFUSALS.keys() - names:
        raise KeyError(f"no such routes: {sorted(unknown)}")
    return table(("route", "service", "needs", "body or query", "answer", "what", "refuses also"), rows)


def _inputs_of(route: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    for parameter in route.get("parameters", ()):
        if parameter["in"] == "query":
            yield code(parameter["name"]) + _bounds_of(parameter["schema"])
    if "requestBody" in route:
        schema = route["requestBody"]["content"]["application/json"]["schema"]
        schema = next((one for one in schema.get("anyOf", ()) if "$ref" in one), schema)  # where it may be left out
        if is_list := "items" in schema:
            schema = schema["items"]
        name = schema["$ref"].rpartition("/")[2]
        if is_list:
            yield "a list of"
        for field in schemas[name]["properties"]:
            yield code(field + ("" if field in schemas[name].get("required", ()) else "?"))


def _bounds_of(schema: Mapping[str, Any]) -> str:
    if "maximum" not in schema or schema["maximum"] > 1_000_000:
        return ""
    return f" ({schema['minimum']}–{schema['maximum']}, else {schema['default']})"
