"""Dead letters at an operator's word: listed without contents, put back the whole way, dropped."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator

import msgspec
import pytest

from services.history.dead_letters import age_of, table_of
from services.history.letters import bury_letters, open_letters
from shared.amqp import open_amqp_bus
from shared.core.commands import Commands, Reply, SendMessage, encode_envelope
from shared.core.errors import InternalError, Unavailable
from shared.core.letters import DeadLetter, decode_letter, encode_letter, letter_of_bytes, letter_of_command
from shared.topology import Topology
from tests.history.test_worker import send_of, wait_for_events
from tests.history.world import ADA, CHANNEL, EVE, NOW, TOPOLOGY, World, open_world
from tests.local.test_run import ROOT
from tests.servers import forget_topology


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return a history service in memory."""
    async with open_world() as opened:
        yield opened


def letter_of(command: SendMessage, reason: str = "ValueError: a defect") -> DeadLetter:
    """Return a command's letter."""
    return letter_of_command(command, reason, shard=0, now=NOW)


async def replay(world: World, letter_id: str, timeout_s: float = 5.0) -> Reply | None:
    """Put a letter back as the program does."""
    async with open_letters(world.bus, TOPOLOGY) as letters:
        return await letters.replay(letter_id, world.commands, now=world.now, timeout_s=timeout_s)


async def test_a_mended_command_is_stored_from_its_letter(world: World) -> None:
    """Long expired it is sent with a fresh expiry, stored, published, and its letter is gone."""
    world.streams.breaks_on = 1
    assert (await world.commands.send(send_of(1), timeout_s=5)).error == "InternalError"
    world.streams.breaks_on = -1
    world.now += 3_600_000
    await world.invalidate()
    reply = await replay(world, "1")
    assert reply is not None
    assert (reply.seq, reply.error) == (1, "")
    await wait_for_events(world, 1)
    assert await world.letters() == []


async def test_what_breaks_its_worker_again_has_a_letter_again(world: World) -> None:
    """Replayed while the defect is still there: refused, and one letter under the same id."""
    world.streams.breaks_on = 1
    await world.commands.send(send_of(1), timeout_s=5)
    reply = await replay(world, "1")
    assert reply is not None
    assert reply.error == "InternalError"
    assert [letter.id for letter in await world.letters()] == ["1"]


async def test_what_is_stored_is_not_stored_again(world: World) -> None:
    """A replayed command is recognised as any: by its id, and by its nonce."""
    stored = await world.commands.send(send_of(1, nonce="n"), timeout_s=5)
    same_nonce = send_of(2, nonce="n")
    await world.bury([letter_of(send_of(1, nonce="n")), letter_of(same_nonce)])
    by_id, by_nonce = await replay(world, "1"), await replay(world, "2")
    assert by_id is not None
    assert by_nonce is not None
    assert (by_id.seq, by_id.id, by_nonce.seq, by_nonce.id) == (stored.seq, stored.id) * 2


async def test_nothing_that_it_was_permitted_under_holds(world: World) -> None:
    """Whoever may not send any more is refused, though the shard has heard of no change since."""
    await world.bury([letter_of(send_of(1, EVE))])
    reply = await replay(world, "1")
    assert reply is not None
    assert reply.error == "MissingAccess"
    assert await world.letters() == []


async def test_a_letter_stays_while_it_can_not_be_settled() -> None:
    """Without groups, which has to permit it again, and without an answer, the letter is there for the next try."""
    async with open_world(patience_s=0) as world:
        await world.bury([letter_of(send_of(1))])
        world.access_errors[ADA.id] = [InternalError()]
        reply = await replay(world, "1")
        assert reply is not None
        assert reply.is_retryable
        world.worker.shard.forget()
        world.streams.away = 1_000_000
        with pytest.raises(Unavailable):
            await replay(world, "1", timeout_s=0.05)
        assert [letter.id for letter in await world.letters()] == ["1"]


async def test_unreadable_bytes_go_back_as_they_are(world: World) -> None:
    """What another release may read is put back; while nobody can, it is here again. Dropped it is gone."""
    letter = letter_of_bytes(b"\xc1 nonsense", "Input data was truncated", shard=0, now=NOW)
    readable = letter_of_bytes(encode_envelope(Commands((send_of(1), send_of(2)))), "version 2", shard=0, now=NOW)
    await world.bury([letter, letter, readable])
    assert await replay(world, letter.id) is None
    assert await replay(world, readable.id) is None
    await wait_for_events(world, 2)
    assert [one.id for one in await world.letters()] == [letter.id]
    async with open_letters(world.bus, TOPOLOGY) as letters:
        with pytest.raises(KeyError):
            await letters.drop("1")
        await letters.drop(letter.id)
    assert await world.letters() == []


async def test_the_list_says_what_died_and_nothing_of_what_was_said(world: World) -> None:
    """One line for each, oldest first, however often it died; what is no letter at all is listed, too."""
    command = msgspec.structs.replace(send_of(7), content="a secret", nonce="hidden")
    again = msgspec.structs.replace(letter_of(command), at=NOW + 5)
    nonsense = letter_of_bytes(b"\xc1", "truncated", shard=3, now=NOW - 1)
    await world.bury([letter_of(command), again, nonsense])
    await world.bus.publish(TOPOLOGY.log, (TOPOLOGY.dead_key(),), b"scribble", mandatory=True)
    async with open_letters(world.bus, TOPOLOGY) as letters:
        told = table_of(letters.held.values(), NOW + 7_200_000)
    head, scribble, of_bytes, of_command = told.splitlines()
    assert head.split()[:3] == ["id", "age", "times"]
    assert "this is no letter" in scribble
    assert of_bytes.split() == [nonsense.id, "2", "h", "1", "3", "-", "-", "1", "bytes", "truncated"]
    shown = ["7", "2", "h", "2", "0", str(CHANNEL.id), str(ADA.id), "SendMessage", "ValueError:", "a", "defect"]
    assert of_command.split() == shown
    assert "secret" not in told
    assert "hidden" not in told
    assert table_of([], NOW) == "no dead letters"
    assert [age_of(ms) for ms in (-5, 59_999, 60_000, 86_400_000)] == ["0 s", "59 s", "1 min", "1 d"]


def test_letters_are_read_as_they_were_written() -> None:
    """A letter survives its codec, whatever it is about."""
    for letter in (letter_of(send_of(1)), letter_of_bytes(b"x", "why", shard=15, now=NOW)):
        assert decode_letter(encode_letter(letter)) == letter
    assert len(letter_of(send_of(1), "x" * 1000).reason) == 300


@pytest.mark.servers
async def test_operators_have_a_program(rabbitmq_url: str) -> None:
    """It lists what waits at a broker, drops one on request, and says what it can't do."""
    topology = Topology(f"test-{uuid.uuid4().hex[:12]}", shards=1)

    async def run(*arguments: str, url: str = rabbitmq_url) -> tuple[int, str]:
        env = {**os.environ, "STARLING_BUS__URL": url, "STARLING_BUS__PREFIX": topology.prefix}
        ended = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "services.history.dead_letters", *arguments],
            cwd=ROOT, env=env, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        return ended.returncode, ended.stdout + ended.stderr

    async with open_amqp_bus(rabbitmq_url) as bus:
        await bury_letters(bus, topology, [letter_of(send_of(n)) for n in (1, 2)], count=lambda kind: None)
        code, told = await run()
        assert code == 0
        assert [line.split()[0] for line in told.splitlines()] == ["id", "1", "2"]
        assert await run("--drop", "1") == (0, "1 is dropped\n")
        assert await run("--drop", "1") == (
            1, "dead letters: there is no letter 1, or somebody else has it in hand\n",
        )  # fmt: skip
        assert await bus.declare(topology.dead_queue()) == 1
    code, told = await run(url="memory://")
    assert code == 1
    assert "memory" in told
    await forget_topology(rabbitmq_url, topology)
