"""What the replay's client makes of answers to what may be repeated."""

from __future__ import annotations

import httpx
import pytest

from deploy.replay.rest import Addresses, Counts, Refused, Rest, User

ANN = User(1, "token")


def answering(status: int) -> Rest:
    """Return a client of services that answer everything so."""
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(status, json={})))
    return Rest(client, Addresses("http://groups", "http://history"), Counts(), 1.0)


async def test_what_is_gone_already_is_removed() -> None:
    """The front door repeats a DELETE whose answer got lost: then nobody but the next node's 404 tells of the first."""
    await answering(404).kick(ANN, 2, 3)


async def test_what_may_not_be_removed_is_told() -> None:
    """Any other refusal is one."""
    with pytest.raises(Refused):
        await answering(403).kick(ANN, 2, 3)
