"""What a benchmark leaves is what the documents' figures are made of."""

from __future__ import annotations

import json
from pathlib import Path

from docs.benchmark_tables import NAMES, RESULTS, figures_of, small
from docs.generate import DOCS
from tests.bench.results import Ran, keep


def test_a_result_says_where_it_ran(tmp_path: Path) -> None:
    """Cores, load at both ends, versions and commit stand beside the figures; no name of a machine, no time of day."""
    path = keep(tmp_path, "some", Ran(), {"rows": [1.0]})
    result = json.loads(path.read_bytes())
    assert path == tmp_path / "some" / "result.json"
    assert result["rows"] == [1.0]
    about = result["about"]
    assert about.keys() == {"cores", "processor", "load_before", "load_after", "commit", "versions"}
    assert "Python" in about["versions"]


def test_histograms_are_left_out_and_figures_rounded() -> None:
    """What is kept in the documents is small."""
    whole = {"parts": [{"latencies": {"p99_ms": 12.3456, "count": 123456, "us": [[1, 2]]}}], "marks": [[0.0, "a"]]}
    assert small(whole) == {"parts": [{"latencies": {"p99_ms": 12.35, "count": 123456}}]}


def test_every_result_that_is_kept_is_shown() -> None:
    """No file of docs/results is without a place on the page, and each table tells on what it ran."""
    names = [path.stem for path in RESULTS.glob("*.json")]
    page = (DOCS / "benchmarks.md").read_text()
    assert set(names) <= set(NAMES)
    for name in NAMES:
        assert f"<!-- generated: bench {name} -->" in page
    for name in names:
        assert (figures_of(name) or "").startswith("On ")
