"""Settings: what the environment says, checked at the door."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from shared.settings import HttpSettings, Settings


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STARLING_AUTH__SECRET", raising=False)


def test_nested_sections_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`STARLING_` is the prefix and `__` goes into a section; lists are JSON."""
    monkeypatch.setenv("STARLING_HTTP__PORT", "9000")
    monkeypatch.setenv("STARLING_HTTP__TRUSTED_PROXIES", '["10.0.0.1"]')
    settings = Settings()
    assert (settings.http.port, settings.http.trusted_proxies) == (9000, ("10.0.0.1",))


def test_the_default_secret_is_refused_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside `local` a process does not start with a secret that everybody knows, nor with a short one."""
    monkeypatch.setenv("STARLING_ENVIRONMENT", "production")
    with pytest.raises(ValidationError, match="must be set"):
        Settings()
    monkeypatch.setenv("STARLING_AUTH__SECRET", "short")
    with pytest.raises(ValidationError, match="32 characters"):
        Settings()
    monkeypatch.setenv("STARLING_AUTH__SECRET", "x" * 32)
    assert "xxx" not in repr(Settings())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (HttpSettings(), "http://127.0.0.1:8080"),
        (HttpSettings(host="0.0.0.0", port=9000), "http://127.0.0.1:9000"),  # noqa: S104 (nothing listens)
        (HttpSettings(host="::1"), "http://[::1]:8080"),
        (HttpSettings(public_url="https://chat.example/"), "https://chat.example"),
    ],
)
def test_the_front_door_is_where_clients_reach_us(settings: HttpSettings, expected: str) -> None:
    """The public URL where there is one, else the address we listen on, always without a slash at the end."""
    assert settings.front_door == expected
