"""Ids as REST requests bring them: decimal strings or integers.

Ring 4 (shell). Client libraries send both; anything else is a form error with Discord's code, in a path, a query
and a body alike. Inside they are ints; `shared.core.wire` writes them as strings again.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from shared.core.wire.values import id_of


def _require_id(value: object) -> int:
    found = id_of(value)
    if found is None:
        raise PydanticCustomError("NUMBER_TYPE_COERCE", "The value is not a snowflake.")
    return found


def _require_cursor(value: object) -> int:
    return 0 if value in ("0", 0) and not isinstance(value, bool) else _require_id(value)


_SCHEMA = WithJsonSchema({"type": "string", "format": "snowflake", "pattern": "^[0-9]{1,19}$"})

Snowflake = Annotated[int, BeforeValidator(_require_id), _SCHEMA]
"""A field or parameter that holds an id of 1 to 2**63 - 1."""

Cursor = Annotated[int, BeforeValidator(_require_cursor), _SCHEMA]
"""A place between ids in a list: an id, or 0 for before all of them (libraries begin there)."""
