"""What a service declares, held against what it answers: requests made from its OpenAPI document by schemathesis.

Every operation of the document is tried, so a new route is covered as it comes. Requests are as declared; names of
things that are there are put into the paths of most of them. An answer must have a declared status, a declared media
type and the declared shape, and must not be a server's error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok

load_all_checks()
_CHECKS = CHECKS.get_by_names(
    ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"]
)


def operations_of(document: dict[str, Any]) -> Iterator[Any]:
    """Yield the operations that a document declares."""
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        if not isinstance(found, Ok):
            raise found.err()
        yield found.ok()


def hold(
    operation: Any,
    runner: asyncio.Runner,
    client: httpx.AsyncClient,
    headers: Sequence[Mapping[str, str]],
    known: Mapping[str, Sequence[str]],
    *,
    examples: int,
) -> None:
    """Try one operation with so many requests. `headers`: of those who ask; `known`: values of path parameters."""

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data(), case=operation.as_strategy())
    def try_it(data: st.DataObject, case: Any) -> None:
        for name in case.path_parameters or {}:
            if name in known and data.draw(st.integers(0, 3)):
                case.path_parameters[name] = data.draw(st.sampled_from(known[name]))
        who = data.draw(st.sampled_from(headers))
        asked = case.as_transport_kwargs(base_url="http://test")
        asked["headers"] = {**(asked.get("headers") or {}), **who}
        if not isinstance(asked.get("data"), dict):  # a form that is written as such
            asked["content"] = asked.pop("data", None)
        wanted = ("params", "headers", "json", "content", "data")
        told = {name: asked[name] for name in wanted if asked.get(name) is not None}
        request = httpx.Request(asked["method"], asked["url"], **told)
        response = runner.run(client.send(request))
        runner.run(response.aread())
        case.validate_response(response, checks=_CHECKS)

    try_it()
