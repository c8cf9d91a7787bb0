"""Errors as HTTP answers, in Discord's shape: `{code, message, errors?}` with the catalogue's numbers.

Ring 4 (shell). Every way in which a request can be wrong ends in `answer_of`. The nested `errors` follow
Discord's "Error Messages" reference; values that a client sent are never repeated in an answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from shared.core.errors import (
    BodyTooLarge,
    InternalError,
    InvalidForm,
    MethodNotAllowed,
    NotFound,
    RateLimited,
    StarlingError,
    Unauthorized,
    Unavailable,
)

_BY_STATUS: dict[int, type[StarlingError]] = {
    401: Unauthorized,
    404: NotFound,
    405: MethodNotAllowed,
    413: BodyTooLarge,
    500: InternalError,
    503: Unavailable,
}
_LENGTHS = {
    "string_too_short": ("min_length", "more"),
    "too_short": ("min_length", "more"),
    "string_too_long": ("max_length", "fewer"),
    "too_long": ("max_length", "fewer"),
}
_BOUNDS = {
    "greater_than": ("NUMBER_TYPE_MIN", "gt", "greater than"),
    "greater_than_equal": ("NUMBER_TYPE_MIN", "ge", "greater than or equal to"),
    "less_than": ("NUMBER_TYPE_MAX", "lt", "less than"),
    "less_than_equal": ("NUMBER_TYPE_MAX", "le", "less than or equal to"),
}
_FAMILIES = (
    ("missing", "BASE_TYPE_REQUIRED", "This field is required"),
    ("string_pattern", "STRING_TYPE_REGEX", "String value did not match validation regex."),
    ("string_", "STRING_TYPE_CONVERT", "Could not interpret the value as string."),
    ("int_", "NUMBER_TYPE_COERCE", "The value is not a whole number."),
    ("float_", "NUMBER_TYPE_COERCE", "The value is not a number."),
    ("finite_number", "NUMBER_TYPE_COERCE", "The value is not a number."),
    ("bool_", "BOOLEAN_TYPE_CONVERT", "Must be either true or false."),
    ("list_", "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType"),
    ("tuple_", "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType"),
    ("dict_", "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType"),
    ("model_", "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType"),
)


class JsonResponse(Response):
    """Bytes of JSON under exactly `application/json`: client libraries take a charset for text."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return bytes as they are, anything else encoded."""
        return content if isinstance(content, bytes) else msgspec.json.encode(content)


def answer_of(error: StarlingError) -> JsonResponse:
    """Return the answer for an error of the catalogue."""
    body: dict[str, Any] = {"message": error.text, "code": error.code}
    headers: dict[str, str] = {}
    if isinstance(error, InvalidForm):
        body["errors"] = error.tree()
    if isinstance(error, RateLimited):
        wait = max(error.retry_after or 0.0, 0.001)
        body |= {"retry_after": round(wait, 3), "global": False}
        # Without Via, discord.py takes a 429 for a ban by the network in front and gives up.
        headers = {"Retry-After": str(math.ceil(wait)), "Via": "1.1 starling", "X-RateLimit-Scope": "user"}
    elif error.retry_after is not None:
        headers = {"Retry-After": str(math.ceil(error.retry_after))}
    return JsonResponse(body, error.status, headers)


def answer_of_status(error: HTTPException) -> JsonResponse:
    """Return the answer for what the framework itself refused, its headers (`Allow`) kept."""
    status = error.status_code
    kind = _BY_STATUS.get(status)
    answer = answer_of(kind()) if kind else JsonResponse(plain_error(status), status)
    answer.headers.update(error.headers or {})
    return answer


def plain_error(status: int) -> bytes:
    """Return the body for a status that the catalogue has no error for."""
    return msgspec.json.encode({"message": f"{status}: {HTTPStatus(status).phrase}", "code": 0})


def form_error_of(error: RequestValidationError) -> InvalidForm:
    """Return what is wrong with each field, by Discord's names. The path leaves out body, query and path."""
    fields: dict[str, list[tuple[str, str]]] = {}
    for one in error.errors():
        place = one["loc"][1:]
        if one["loc"] == ("body",) and isinstance(one.get("input"), bytes):
            reason = ("CONTENT_TYPE_INVALID", 'Expected "Content-Type" header to be one of {"application/json"}.')
        else:
            reason = _reason_of(one)
        fields.setdefault(_path_of(place), []).append(reason)
    return InvalidForm(fields)


def _path_of(place: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in place)


def _reason_of(error: Mapping[str, Any]) -> tuple[str, str]:
    kind: str = error["type"]
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind in _LENGTHS:
        bound, word = _LENGTHS[kind]
        return "BASE_TYPE_BAD_LENGTH", f"Must be {context[bound]} or {word} in length."
    if kind in _BOUNDS:
        code, bound, words = _BOUNDS[kind]
        return code, f"The value should be {words} {context[bound]}."
    if kind in ("literal_error", "enum"):
        return "BASE_TYPE_CHOICES", f"Value must be one of {context['expected']}."
    if kind.isupper():  # a PydanticCustomError of ours: the type is the code
        return kind, error["msg"]
    for prefix, code, message in _FAMILIES:
        if kind.startswith(prefix):
            return code, message
    return "BASE_TYPE_INVALID", "The value is not valid for this field."
