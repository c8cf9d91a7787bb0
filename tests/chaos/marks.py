"""Reactions and pins: what was answered as done is shown at the end (promise 1), and nothing that nobody asked (5).

Core. What was asked and not answered may have come to be or not.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from tests.chaos.following import Breaks
from tests.chaos.history import NOBODY, PIN, READINGS, Bears, Marked, Marking, Record

_Mark = tuple[int, int, str]
"""Channel, message, mark."""
_NOT_YET: Final = frozenset({False})


class Marks:
    """The marks of all messages. `checked` counts those that were answered as done."""

    def __init__(self, breaks: Breaks) -> None:
        self._breaks = breaks
        self._states: dict[_Mark, dict[int, frozenset[bool]]] = {}
        """By who put it there (a pin is everybody's): whether it is there, as far as is known."""
        self._marked_at: dict[_Mark, float] = {}
        self._shown: dict[_Mark, list[int]] = {}
        """By each reading that shows it; pins are read once."""
        self._pins: dict[int, int] = {}
        self.checked = 0

    def take(self, record: Record) -> None:
        """Take in the next record."""
        match record:
            case Marking(who=who, channel=channel, id=message_id, mark=mark, on=on):
                its = self._states.setdefault((channel, message_id, mark), {})
                owner = NOBODY if mark == PIN else who
                its[owner] = its.get(owner, _NOT_YET) | {on}
                if mark == PIN and on:
                    self._pins[channel] = self._pins.get(channel, 0) + 1
            case Marked(at=at, who=who, channel=channel, id=message_id, mark=mark, on=on):
                self._states[channel, message_id, mark][NOBODY if mark == PIN else who] = frozenset({on})
                self._marked_at[channel, message_id, mark] = at
                self.checked += 1
            case Bears(channel=channel, id=message_id, mark=mark, count=count):
                self._shown.setdefault((channel, message_id, mark), []).append(count)

    def pins_asked(self, channel: int) -> int:
        """Return how many pins were asked for in a channel: so many messages at most tell of one."""
        return self._pins.get(channel, 0)

    def judge(self, at: float, gone: Collection[tuple[int, int]]) -> None:
        """Hold what is shown to what was asked; `gone`: channel and id of messages that may be deleted."""
        for key in self._states.keys() | self._shown.keys():
            channel, message_id, mark = key
            its = self._states.get(key, {}).values()
            counts = self._shown.get(key, [])
            shown, shown_by_all = max(counts, default=0), len(counts) >= (1 if mark == PIN else len(READINGS))
            fewest = min(counts) if shown_by_all else 0
            what = f"id {message_id} of channel {channel} bears {mark}"
            if shown > (most := sum(True in one for one in its)):
                self._breaks(5, at, f"{what} {shown} times, asked for were {most}")
            elif (channel, message_id) not in gone and fewest < (least := sum(False not in one for one in its)):
                self._breaks(1, self._marked_at.get(key, at), f"{what} {fewest} times, answered as done were {least}")
