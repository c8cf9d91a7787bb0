"""What any request can be refused for, and what every error is: what a peer is told, on every way out.

Ring 1 (core). The same `code` stands in a REST body, an RPC reply, a SEND_REJECT frame and a metric
label. Numbers are Discord's JSON error codes (developer documentation, "JSON Error Codes") where it
has one; `shared.http` turns an error into a response. Only errors cross a service's border. Those of
accounts, of groups and of messages have modules of their own; all are in `shared.core.error_catalogue`.
"""

from typing import ClassVar


class StarlingError(Exception):
    """A refusal with a meaning for the peer.

    `code` is Discord's JSON code, `status` the HTTP status, `retryable` says that the same request may
    succeed later (op 102 then carries `retry_after`).
    """

    code: ClassVar[int] = 0
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    message: ClassVar[str] = "Internal server error"

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        self.text = message or self.message
        self.retry_after = retry_after
        super().__init__(self.text)


class InternalError(StarlingError):
    """Something of ours broke; logged with its cause, told without."""


class Unavailable(StarlingError):
    """A part that is needed did not answer in time; the outcome of a send is unknown until it expires."""

    status = 503
    retryable = True
    message = "Service temporarily unavailable, try again"


class Busy(Unavailable):
    """A part has too much to do, and has not begun this; in `retry_after` seconds, or elsewhere, there may be room."""


class Unauthorized(StarlingError):
    """No valid token."""

    status = 401
    message = "401: Unauthorized"


class NotFound(StarlingError):
    """No such route."""

    status = 404
    message = "404: Not Found"


class MethodNotAllowed(StarlingError):
    """The route exists, not with this method."""

    status = 405
    message = "405: Method Not Allowed"


class BodyTooLarge(StarlingError):
    """The request's body is over the limit."""

    code = 40005
    status = 413
    message = "Request entity too large"


class InvalidJson(StarlingError):
    """The request's body is no JSON, or holds what no text may hold (lone surrogates, NUL)."""

    code = 50109
    status = 400
    message = "The request body contains invalid JSON."


class InvalidForm(StarlingError):
    """Fields of the request are wrong. `fields` maps a dotted path to (code, message) pairs; "" is the whole."""

    code = 50035
    status = 400
    message = "Invalid Form Body"

    def __init__(self, fields: dict[str, list[tuple[str, str]]]) -> None:
        super().__init__()
        self.fields = fields

    def tree(self) -> dict[str, object]:
        """Return Discord's `errors` object: nested by path, leaves are `{"_errors": [{code, message}]}`."""
        root: dict[str, object] = {}
        for path, reasons in self.fields.items():
            place = root
            for part in filter(None, path.split(".")):
                inner = place.setdefault(part, {})
                if not isinstance(inner, dict):
                    break
                place = inner
            place["_errors"] = [{"code": code, "message": text} for code, text in reasons]
        return root


class RateLimited(StarlingError):
    """Over a budget; `retry_after` seconds from now there is room."""

    status = 429
    retryable = True
    message = "You are being rate limited."


class MissingAccess(StarlingError):
    """The caller may not see this."""

    code = 50001
    status = 403
    message = "Missing Access"


class MissingPermissions(StarlingError):
    """The caller sees this and may not do it."""

    code = 50013
    status = 403
    message = "You lack permissions to perform that action"
