"""What processes do while they are loaded: py-spy's samples, summed up as the functions that cost most.

py-spy reads another process from outside; it needs root or the same user with ptrace allowed. Where it is not
installed, or not let, there is no profile, and that is all.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_RATE: Final = 100
_LATE_S: Final = 20.0
_MOST: Final = 12


def py_spy() -> str | None:
    """Return where py-spy is, None if it is not installed."""
    return shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))


async def profile(pids: Mapping[str, int], seconds: int, folder: Path) -> dict[str, list[str]]:
    """Sample these processes, all at once, for so long; return the dearest functions of each as lines of text.

    The samples themselves are left in `folder`, which is there, a file for each process, as flame graphs take them.
    """
    binary = py_spy()
    if binary is None:
        return {}
    files = {name: folder / f"{name}.stacks" for name in pids}
    running = [
        await asyncio.create_subprocess_exec(
            *(binary, "record", "--pid", str(pids[name]), "--duration", str(seconds), "--rate", str(_RATE)),
            *("--gil", "--format", "raw", "--output", str(file)),  # else threads that wait count as well
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        for name, file in files.items()
    ]
    try:
        async with asyncio.timeout(seconds + _LATE_S):
            await asyncio.gather(*(one.wait() for one in running))
    except TimeoutError:
        pass  # what the others sampled is worth telling
    finally:
        for one in running:
            if one.returncode is None:
                one.kill()
                await one.wait()
    return await asyncio.to_thread(_read, files)


def _read(files: Mapping[str, Path]) -> dict[str, list[str]]:
    return {name: dearest(file.read_text().splitlines()) for name, file in files.items() if file.exists()}


def dearest(stacks: Sequence[str]) -> list[str]:
    """Return the functions with the most samples of their own, and with what they call, of folded stacks."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    total = 0
    for line in stacks:
        stack, _, number = line.rpartition(" ")
        if not number.isdigit() or not stack:
            continue
        frames = [frame.rpartition(":")[0] or frame for frame in stack.split(";")]
        own[frames[-1]] += int(number)
        for frame in set(frames):
            whole[frame] += int(number)
        total += int(number)
    return [
        f"{100 * count / total:5.1f} % itself, {100 * whole[frame] / total:5.1f} % with what it calls: {frame}"
        for frame, count in own.most_common(_MOST)
    ]
