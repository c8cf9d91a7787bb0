"""What contracts are held on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.settings import CacheSettings


@pytest.fixture
def redis_settings(redis_url: str) -> CacheSettings:
    """Return settings of a real Redis with a deadline that no busy machine passes: outages are tested elsewhere.

    After the services' own, a quarter of a second, a cache that was asked forty things at once has nothing in it.
    """
    return CacheSettings(url=redis_url, timeout=timedelta(seconds=10))
