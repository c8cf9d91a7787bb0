"""Snowflake ids and the stable hash that places channels and users.

Ring 1 (core). An id is 64 bits: 42 bits of milliseconds since Discord's epoch, 10 bits of a leased
worker id, 12 bits of sequence. Client libraries compute dates from ids, so the epoch is fixed.
Leasing worker ids is `shared.lease`'s work. Read `stream` next.
"""

import zlib

DISCORD_EPOCH_MS = 1_420_070_400_000
WORKERS = 1 << 10
_SEQUENCES = 1 << 12
_TICK = WORKERS * _SEQUENCES  # ids per millisecond, over all workers

MAX_ID = (1 << 63) - 1


def first_id_at(unix_ms: int) -> int:
    """Return the smallest id of the millisecond `unix_ms` (Unix time, ms)."""
    return (unix_ms - DISCORD_EPOCH_MS) * _TICK


def ms_of(snowflake: int) -> int:
    """Return the Unix time in ms that an id tells."""
    return snowflake // _TICK + DISCORD_EPOCH_MS


def worker_of(snowflake: int) -> int:
    """Return the worker id inside an id."""
    return snowflake // _SEQUENCES % WORKERS


class IdSource:
    """Mints ids of one leased worker: unique over the cluster, increasing within this source."""

    def __init__(self, worker: int) -> None:
        if not 0 <= worker < WORKERS:
            raise ValueError(f"worker id {worker} is not in 0..{WORKERS - 1}")
        self.worker = worker
        self._last = 0

    def next_id(self, now_ms: int, after: int = 0) -> int:
        """Return the next id: of `now_ms` or later, above `after` and above all minted before.

        This is max(clock, last + 1) with the worker bits kept: where another worker's clock ran ahead
        (`after` is in our future), the id moves to our place in that or the next millisecond, so
        two workers never mint the same id.
        """
        floor = max(after, self._last)
        mine = first_id_at(now_ms) + self.worker * _SEQUENCES
        if mine <= floor:
            tick = floor // _TICK * _TICK + self.worker * _SEQUENCES
            if floor < tick:
                mine = tick
            elif floor < tick + _SEQUENCES - 1:
                mine = floor + 1
            else:
                mine = tick + _TICK
        self._last = mine
        return mine


def stable_hash(value: int) -> int:
    """Return a 32-bit hash of an id that is the same in every process and release (CRC-32 of 8 bytes)."""
    return zlib.crc32(value.to_bytes(8, "big"))
