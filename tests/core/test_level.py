"""The first level of the cache: bounded, by name, and by group forgotten; compared with a plain table."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.core.level import Kept, Level

MOST, MOST_BYTES = 4, 100

keys = st.integers(0, 7)
seqs = st.integers(0, 5)
steps = st.one_of(
    st.tuples(st.just("put"), keys, seqs, st.integers(1, 120)),
    st.tuples(st.just("get"), keys),
    st.tuples(st.just("drop"), st.integers(0, 2), seqs),
    st.tuples(st.just("wait"), st.integers(1, 4)),
)


@given(st.lists(steps, max_size=60))
def test_it_is_what_a_plain_table_would_be(told: list[tuple[str, int, int, int]]) -> None:
    """The newest of a key stays for its time, what was used longest ago goes first, a drop takes what is older."""
    level: Level[str] = Level(MOST_BYTES, MOST)
    table: dict[int, Kept[str]] = {}
    now = 0.0
    for name, *rest in told:
        match name, rest:
            case "put", (key, seq, size):
                one = Kept(f"{key} at {seq}", key % 3, seq, size, now, now + 5)
                level.put(key, one)
                known = table.get(key)
                if size <= MOST_BYTES and (known is None or known.seq <= seq):
                    table.pop(key, None)
                    table[key] = one
                    while len(table) > MOST or sum(kept.size for kept in table.values()) > MOST_BYTES:
                        del table[next(iter(table))]
            case "get", (key,):
                if key in table and table[key].until <= now:
                    del table[key]
                assert level.get(key, now) == table.get(key)
                if key in table:
                    table[key] = table.pop(key)
            case "drop", (group_id, seq):
                gone = [key for key, kept in table.items() if kept.group_id == group_id and kept.seq < seq]
                assert level.drop(group_id, seq) == len(gone)
                for key in gone:
                    del table[key]
            case "wait", (seconds,):
                now += seconds
        assert level.statistics() == {"entries": len(table), "bytes": sum(kept.size for kept in table.values())}


def test_a_level_of_no_bytes_keeps_nothing() -> None:
    """That is how it is turned off."""
    level: Level[str] = Level(0)
    level.put("a", Kept("value", 1, 1, 1, 0.0, 9.0))
    assert level.get("a", 0.0) is None
