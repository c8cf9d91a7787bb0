"""What is stored after a run: the events of each channel, and what the pages show of them.

Core. Promise 2 is judged here, since it is about the events alone: seqs without a hole, ids that increase with them,
and pages in the same order.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from itertools import pairwise

from tests.chaos.history import READINGS, Event, Paged, Record

CREATE = "MESSAGE_CREATE"
DELETE = "MESSAGE_DELETE"


class Stored:
    """The events and pages at the end of a run."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.events: dict[int, dict[int, Event]] = {}
        """By channel and seq."""
        self.pages: dict[tuple[int, int], list[Paged]] = {}
        """By reading and channel."""
        self.deleted: set[tuple[int, int]] = set()
        """Channel and id of messages that are gone."""
        self.at = 0.0
        self.doubled: list[Event] = []
        for one in records:
            if isinstance(one, Event):
                self._take_event(one)
            elif isinstance(one, Paged):
                self.pages.setdefault((one.reading, one.channel), []).append(one)
                self.at = max(self.at, one.at)

    def _take_event(self, event: Event) -> None:
        self.at = max(self.at, event.at)
        of_channel = self.events.setdefault(event.channel, {})
        if event.seq in of_channel:
            self.doubled.append(event)
        of_channel[event.seq] = event
        if event.t == DELETE:
            self.deleted.add((event.channel, event.id))

    def last(self, channel: int) -> int:
        """Return the last seq of a channel, 0 if it has none."""
        return max(self.events.get(channel, ()), default=0)

    def told_between(self, channel: int, above: int, below: int) -> list[int]:
        """Return the seqs between these two that clients are told of."""
        if below - above <= 1:
            return []
        events = self.events.get(channel, {})
        between = (events.get(seq) for seq in range(above + 1, below))
        return [event.seq for event in between if event is not None and event.t is not None]

    def messages(self, channel: int) -> list[Event]:
        """Return the messages of a channel that are there, by seq."""
        events = self.events.get(channel, {})
        created = (events[seq] for seq in sorted(events) if events[seq].t == CREATE)
        return [event for event in created if (channel, event.id) not in self.deleted]

    def disorder(self) -> Iterable[tuple[int, int, str]]:
        """Yield what is broken of one order: the channel and seq it is at, and what it is."""
        for event in self.doubled:
            yield event.channel, event.seq, f"channel {event.channel} has seq {event.seq} twice"
        for channel, events in self.events.items():
            seqs = sorted(events)
            if seqs != list(range(1, len(seqs) + 1)):
                hole = next(seq for place, seq in enumerate(seqs, 1) if place != seq)
                yield channel, hole, f"channel {channel} has a hole before seq {hole}"
            created = [events[seq] for seq in seqs if events[seq].t == CREATE]
            for one, other in pairwise(created):
                if one.id >= other.id:
                    yield (
                        channel,
                        other.seq,
                        f"channel {channel}: id {other.id} of seq {other.seq} is not above {one.id}",
                    )
        for reading, channel in itertools.product(READINGS, self.events):
            page = self.pages.get((reading, channel), [])
            shown = [(one.id, one.seq, one.content) for one in page]
            there = [(one.id, one.seq, one.content) for one in self.messages(channel)]
            if shown != there:
                seq = next((a[1] for a, b in zip(shown, there, strict=False) if a != b), len(shown) + 1)
                text = f"reading {reading} of channel {channel}: {len(shown)} messages, the events have {len(there)}"
                yield channel, seq, f"{text}; they differ from seq {seq} on"
