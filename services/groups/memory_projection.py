"""Projections in memory: each value keeps the seq that made it, and gives way only to what is above it.

Ring 2. What the parts of `memory_store` have in common.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Projection(Generic[K, V]):
    """Values by key, each with the seq of the event that made it."""

    def __init__(self) -> None:
        self._entries: dict[K, tuple[int, V]] = {}

    def put(self, key: K, value: V, seq: int) -> None:
        """Put a value in, unless one of this seq or a later one is there."""
        stored = self._entries.get(key)
        if stored is None or stored[0] < seq:
            self._entries[key] = (seq, value)

    def amend(self, key: K, value: V) -> None:
        """Put another value in the place of one, under the seq that it has."""
        self._entries[key] = (self._entries[key][0], value)

    def entry(self, key: K) -> tuple[int, V] | None:
        """Return a value behind the seq that made it; None if there never was one."""
        return self._entries.get(key)

    def get(self, key: K) -> V | None:
        """Return a value; None if there never was one."""
        entry = self._entries.get(key)
        return entry[1] if entry is not None else None

    def some(self, keys: Sequence[K]) -> dict[K, V]:
        """Return those of these values that there are."""
        return {key: self._entries[key][1] for key in keys if key in self._entries}

    def items(self) -> list[tuple[K, V]]:
        """Return all values with their keys."""
        return [(key, value) for key, (_, value) in self._entries.items()]

    def values(self) -> list[V]:
        """Return all values."""
        return [value for _, value in self._entries.values()]
