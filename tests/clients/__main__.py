"""`make clients`: released client libraries, unmodified, against Starling. Prints a table of library x step.

`python -m tests.clients --only discord.py --mode cluster`. With `--write` the table goes into the README. Logs of
systems and bots are left in the cache folder.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import httpx

from tests.clients.bot import BotFailed, open_bot
from tests.clients.libraries import LIBRARIES, Library, NotInstallable
from tests.clients.people import register
from tests.clients.scenario import STEPS, Case, FaultStep, Step, meet
from tests.clients.systems import MODES, System, open_system
from tests.clients.table import Results, table_of, write_table

_CACHE = Path(__file__).parent.parent.parent / ".clients"


def main() -> int:
    """Run; 0 if every step of every library went well, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description="Released libraries against Starling.")
    parser.add_argument("--only", action="append", choices=[one.name for one in LIBRARIES], help="these libraries")
    parser.add_argument("--mode", action="append", choices=MODES, help="these systems")
    parser.add_argument("--write", action="store_true", help="write the table into the README")
    chosen = parser.parse_args()
    libraries = [one for one in LIBRARIES if not chosen.only or one.name in chosen.only]
    results = Results()
    try:
        asyncio.run(_run(libraries, chosen.mode or MODES, results))
    except NotInstallable as failure:
        print(f"clients: {failure}", file=sys.stderr)
        return 1
    print(table_of(results))
    for line in results.failures():
        print(line)
    if chosen.write:
        write_table(results)
    return 1 if results.failures() else 0


async def _run(libraries: Sequence[Library], modes: Sequence[str], results: Results) -> None:
    logs = _CACHE / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    folders = [library.install(_CACHE) for library in libraries]
    for mode in modes:
        async with open_system(mode, logs) as system, AsyncExitStack() as stack:
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=system.door, timeout=30))
            cases = []
            for library, folder in zip(libraries, folders, strict=True):
                cases.append(await _open_case(stack, http, system, library, folder, logs))
            for step in STEPS:
                if isinstance(step, FaultStep) and step.in_cluster not in (None, system.is_cluster):
                    continue
                await _take(step, system, libraries, cases, results)


async def _open_case(
    stack: AsyncExitStack, http: httpx.AsyncClient, system: System, library: Library, folder: Path, logs: Path
) -> Case:
    owner, guest = await register(http, "owner"), await register(http, "guest")
    group = await owner.call("POST", "/guilds", {"name": f"Home of {library.name}"})
    application = await owner.call("POST", "/applications", {"name": library.name})
    bot_id, token = application["bot"]["id"], application["bot"]["token"]
    for member in (bot_id, guest.id):
        await owner.call("PUT", f"/guilds/{group['id']}/members/{member}", {})
    everything = {"name": "bots", "permissions": str(1 << 3)}
    role = await owner.call("POST", f"/guilds/{group['id']}/roles", everything)
    await owner.call("PUT", f"/guilds/{group['id']}/members/{bot_id}/roles/{role['id']}")
    command = library.command(folder, system.url, token)
    log = logs / f"{system.mode} {library.name}.log"
    bot = await stack.enter_async_context(open_bot(command, folder, log))
    return Case(bot, bot_id, owner, guest.id, group["id"], group["channels"][0]["id"])


async def _take(
    step: Step | FaultStep, system: System, libraries: Sequence[Library], cases: list[Case], results: Results
) -> None:
    """Take a step with every bot, and note what came of it."""
    taking = [(library, case) for library, case in zip(libraries, cases, strict=True) if step.name not in library.lacks]
    if isinstance(step, FaultStep):
        wrong = await meet(step, system, [case for _, case in taking])
    else:
        wrong = await asyncio.gather(*(_try(step, case) for _, case in taking))
    for (library, _), text in zip(taking, wrong, strict=True):
        results.note(library.name, system.mode, step.name, text)
        print(f"{system.mode}: {library.name}: {step.name}: {text or 'yes'}", flush=True)


async def _try(step: Step, case: Case) -> str:
    try:
        await step.take(case)
    except (BotFailed, httpx.HTTPError) as failure:
        return str(failure) or type(failure).__name__
    return ""


if __name__ == "__main__":
    sys.exit(main())
