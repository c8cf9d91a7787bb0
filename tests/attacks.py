"""What an attacker sends, made from the OpenAPI document of a service: so that a new route is attacked as it comes.

`routes_of` lists the routes, `Route.body` fills a form as its document wants it, `forged` is that form with operators
where values belong, `PRIVILEGED` what nobody may set, `picture` all that is stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import APIRouter

from shared.http import create_app
from shared.metrics import Metrics
from shared.settings import HttpSettings

OPERATORS: tuple[Any, ...] = (
    {"$ne": ""},
    {"$gt": 0},
    {"$where": "1"},
    [{"$ne": None}],
    {"a": {"$in": [[]]}},
    True,
    1.5,
)
"""What a document database might take for a question."""
TEXTS = ('{"$ne":1}', "[$gt]", "-1", "9" * 20, "\u0661", "../1", "%00")
"""The same, and other numbers that are none, in a path or query."""
FORGED = "4242"
PRIVILEGED: Mapping[str, Any] = {
    **dict.fromkeys(
        ("_id", "id", "user_id", "owner_id", "owner", "author", "application_id", "guild_id", "group_id"), FORGED
    ),
    **dict.fromkeys(("by", "seq", "type_", "version", "issued", "uses", "position_", "webhook_id", "last_seq"), 4242),
    **dict.fromkeys(("bot", "verified", "managed", "gone", "admin", "is_owner", "mfa_enabled", "pinned"), True),
    **dict.fromkeys(("state", "password_hash", "token", "discriminator", "verify_key", "premium_since"), "forged"),
    "permissions": "8",
    "public_flags": 4242,
    "member": {"permissions": "8", "user": {"id": FORGED}},
    "$set": {"owner": 4242},
    "__proto__": {"bot": True},
}
"""Fields that are the server's to set; one that a form has is left out of what is sent."""


@dataclass(frozen=True)
class Route:
    """A route as its document declares it; `schema` of its JSON body, if it takes one."""

    method: str
    template: str
    parameters: tuple[str, ...]
    queries: Mapping[str, Mapping[str, Any]]
    schema: Mapping[str, Any] | None
    needs_token: bool
    document: Mapping[str, Any]

    @property
    def label(self) -> str:
        """Return its name in tables."""
        return f"{self.method} {self.template}"

    def path(self, values: Mapping[str, str]) -> str:
        """Return its path with these values in the place of parameters."""
        return self.template.format(**values)

    def resolve(self, schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return the alternatives that a schema allows, without null."""
        if "$ref" in schema:
            return self.resolve(self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
        if "anyOf" in schema:
            return [one for part in schema["anyOf"] for one in self.resolve(part) if one.get("type") != "null"]
        return [schema]

    def body(self, values: Mapping[str, Any]) -> Any:
        """Return a body: required fields, and others of which `values` tells what to say."""
        return None if self.schema is None else self._fill(self.schema, "", values)

    def _fill(self, schema: Mapping[str, Any], name: str, values: Mapping[str, Any]) -> Any:
        if name in values:
            return values[name]
        first = self.resolve(schema)[0]
        kind = first.get("type")
        if kind == "object":
            required = first.get("required", ())
            fields = first.get("properties", {})
            return {one: self._fill(fields[one], one, values) for one in fields if one in required or one in values}
        if kind == "array":
            return [self._fill(first["items"], "", values)]
        if "enum" in first or "const" in first:
            return first.get("enum", [first.get("const")])[0]
        return {"integer": 1, "number": 1.5, "boolean": False}.get(str(kind), "x")

    def fields(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the fields of its form; of a list, those of what it lists."""
        if self.schema is None:
            return {}
        first = self.resolve(self.schema)[0]
        if first.get("type") == "array":
            first = self.resolve(first["items"])[0]
        fields: Mapping[str, Mapping[str, Any]] = first.get("properties", {})
        return fields

    def forged(self, values: Mapping[str, Any]) -> Iterator[tuple[str, Any, bool]]:
        """Yield bodies with an operator in the place of each field, and of the whole.

        With each: which field it is, and whether it must be refused as none of the types that the field is declared
        to have.
        """
        if self.schema is None:
            return
        good = self.body(values)
        for name, schema in self.fields().items():
            kinds = {one.get("type", "anything") for one in self.resolve(schema)}
            for operator in OPERATORS:
                if isinstance(operator, bool | float):
                    is_wrong = kinds == {"string"} and "date-time" not in repr(schema)
                elif isinstance(operator, list):
                    inner = [one["items"] for one in self.resolve(schema) if one.get("type") == "array"]
                    is_wrong = all(self.resolve(one)[0].get("type") != "object" for one in inner)
                else:
                    is_wrong = "object" not in kinds
                body = [{**good[0], name: operator}] if isinstance(good, list) else {**good, name: operator}
                yield name, body, is_wrong and "anything" not in kinds
        wholes: tuple[Any, ...] = ("x", 5, [["x"]], {} if isinstance(good, list) else [])
        for whole in wholes:
            yield "", whole, True


def routes_of(router: APIRouter) -> list[Route]:
    """Return all routes that a service's OpenAPI document lists."""
    document = create_app(HttpSettings(), metrics=Metrics(), routers=[router]).openapi()
    return [
        Route(
            method.upper(),
            template.removeprefix("/api/v10"),
            tuple(one["name"] for one in told.get("parameters", ()) if one["in"] == "path"),
            {one["name"]: one["schema"] for one in told.get("parameters", ()) if one["in"] == "query"},
            told.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema"),
            "security" in told,
            document,
        )
        for template, methods in document["paths"].items()
        for method, told in methods.items()
    ]


def privileged(body: Any, fields: Mapping[str, Any]) -> Any:
    """Return a body with everything added that is not in its form."""
    more = {name: value for name, value in PRIVILEGED.items() if name not in fields}
    if isinstance(body, list):
        return [{**one, **more} for one in body]
    return {**(body or {}), **more}


def picture(*parts: Any) -> str:
    """Return all that parts of a world in memory hold, as a text in which nothing is left to chance."""
    told = repr([_plain(part) for part in parts])
    chance = (
        r"\$argon2[^']*",
        r"(?<=')([\w-]{22,}|[2-9A-Za-z]{10})(?=')",  # tokens and codes
        r"(?<='epoch', )\d+",
        r"(?<='command_id', )\d+",
    )
    return re.sub("|".join(chance), "random", told)


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return [type(value).__name__, *((name, _plain(getattr(value, name))) for name in value.__struct_fields__)]
    if isinstance(value, dict):
        return [(_plain(key), _plain(one)) for key, one in value.items()]
    if isinstance(value, set | frozenset):
        return sorted(repr(_plain(one)) for one in value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "__dict__"):
        return _plain(vars(value))
    return value
