"""What a test does where something that it needs is not on this machine."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def go_without(missing: str) -> NoReturn:
    """Skip the test for this reason; fail it with `STARLING_REQUIRE_SERVERS=1`."""
    if os.environ.get("STARLING_REQUIRE_SERVERS") == "1":
        pytest.fail(f"required here: {missing}", pytrace=False)
    pytest.skip(missing)
