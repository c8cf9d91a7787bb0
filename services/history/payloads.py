"""Bodies of messages as client libraries send them: JSON, or a form with the JSON in `payload_json`.

Ring 4 (shell). Libraries send a form when there are files with the message. Files are not stored here yet, so they
are refused by name; a form without any is as good as its JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from shared.core.errors import BodyTooLarge, InvalidForm
from shared.http_edge import require_json_text

FORM: Final = "multipart/form-data"
_PAYLOAD: Final = "payload_json"
_MAX_PARTS: Final = 20
_MAX_PART_BYTES: Final = 256 * 1024

FORM_SCHEMA: Final[dict[str, Any]] = {
    "requestBody": {
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "required": [_PAYLOAD],
                    "properties": {_PAYLOAD: {"type": "string", "contentMediaType": "application/json"}},
                }
            }
        }
    }
}
"""What a route that takes forms adds to its OpenAPI description (`openapi_extra`)."""


SLACK_FORM: Final = "application/x-www-form-urlencoded"
SLACK_FORM_SCHEMA: Final[dict[str, Any]] = {
    "requestBody": {
        "content": {
            SLACK_FORM: {
                "schema": {
                    "type": "object",
                    "required": ["payload"],
                    "properties": {"payload": {"type": "string", "contentMediaType": "application/json"}},
                }
            }
        }
    }
}
"""The same for forms as Slack takes them."""


class PayloadRoute(APIRoute):
    """A route whose JSON body may come inside a form, in one of its fields."""

    form = FORM
    field = _PAYLOAD

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, which gets the JSON either way."""
        handle = super().get_route_handler()

        async def unwrapped(request: Request) -> Response:
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() == self.form:
                request = _request_of(request, await _payload_of(request, self.field))
            return await handle(request)

        return unwrapped


class SlackRoute(PayloadRoute):
    """A route that takes forms as Slack does."""

    form = SLACK_FORM
    field = "payload"


async def _payload_of(request: Request, field: str) -> bytes:
    """Return the JSON of a form. Raises `InvalidForm`, `InvalidJson`."""
    try:
        async with request.form(max_files=_MAX_PARTS, max_fields=_MAX_PARTS, max_part_size=_MAX_PART_BYTES) as form:
            files = [name for name, value in form.multi_items() if isinstance(value, UploadFile)]
            payload = form.get(field, "{}")
    except HTTPException as error:
        if error.status_code == BodyTooLarge.status:
            raise
        raise InvalidForm({"": [("FORM_TYPE_INVALID", "The form could not be read.")]}) from error
    if files:
        text = "Files can not be stored here yet."
        raise InvalidForm({name.replace(".", "_") or "files": [("FILES_NOT_SUPPORTED", text)] for name in files})
    encoded = str(payload).encode()
    require_json_text(encoded)
    return encoded


def _request_of(request: Request, payload: bytes) -> Request:
    """Return the request as if its body had been this JSON."""
    scope = dict(request.scope)
    scope["headers"] = list(request.scope["headers"])
    headers = MutableHeaders(scope=scope)
    headers["content-type"] = "application/json"
    headers["content-length"] = str(len(payload))

    async def receive() -> Message:
        return {"type": "http.request", "body": payload, "more_body": False}

    return Request(scope, receive)
