"""The client libraries: which version, how it gets an environment of its own, how its bot is started."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.environments import making

_BOTS: Final = Path(__file__).parent / "bots"
_INSTALL_S: Final = 300.0


class NotInstallable(Exception):
    """What a library needs is not on this machine; the text says what."""


@dataclass(frozen=True)
class Library:
    """A released library. `bot` is the file in bots/ that drives it; `packages` are pinned.

    `arguments` come behind the server's URL and the token. `lacks`: steps that the library has no words for.
    """

    name: str
    language: str
    bot: str
    packages: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    lacks: frozenset[str] = frozenset()

    def install(self, cache: Path) -> Path:
        """Install into an environment of its own below `cache`, once; return its folder. Raises `NotInstallable`."""
        folder = cache / "-".join((self.name, *(package.split("==")[-1] for package in self.packages)))
        done = folder / ".installed"
        if done.exists():
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for command in self._installing(folder):
            if shutil.which(command[0]) is None:
                raise NotInstallable(f"{self.name} needs {command[0]}, which is not on this machine")
            ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
            if ran.returncode:
                raise NotInstallable(f"{self.name} could not be installed:\n{ran.stdout}{ran.stderr}")
        done.touch()
        return folder

    def _installing(self, folder: Path) -> list[list[str]]:
        if self.language == "node":
            return [["npm", "install", "--no-save", "--no-audit", "--no-fund", "--prefix", str(folder), *self.packages]]
        return making(folder, self.packages)

    def command(self, folder: Path, url: str, token: str) -> list[str]:
        """Return what starts the bot of an installed library at this server with this token."""
        interpreter = "node" if self.language == "node" else str(folder / "bin" / "python")
        return [interpreter, str(_BOTS / self.bot), url, token, *self.arguments]


_OF_FORKS: Final = frozenset({"commands", "send, nonce"})
"""What forks are not asked for: how they sync commands is each one's own, and not all can send a nonce."""

LIBRARIES: Final = (
    Library("discord.py", "python", "discordpy.py", ("discord.py==2.7.1",)),
    Library("hikari", "python", "hikari_bot.py", ("hikari==2.7.0",)),
    Library("discord.js", "node", "discordjs.mjs", ("discord.js@14.28.1",)),
    Library("disnake", "python", "forks.py", ("disnake==2.12.2",), ("disnake",), _OF_FORKS),
    Library("nextcord", "python", "forks.py", ("nextcord==2.6.0", "setuptools==80.9.0"), ("nextcord",), _OF_FORKS),
    Library("py-cord", "python", "forks.py", ("py-cord==2.8.1",), ("discord",), _OF_FORKS),
    Library("oceanic.js", "node", "oceanic.mjs", ("oceanic.js@1.15.0",)),
)
