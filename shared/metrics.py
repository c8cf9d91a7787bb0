"""Metrics: one prometheus registry per node, so that two nodes in one process stay apart.

Ring 2. Names are `starling_<service>_<noun>_<unit>`; labels come from closed sets, never an id. What a
core object counts anyway is read from its `statistics()` at scrape time by `watch`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The registry of one node."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        """Register a counter. Raises `ValueError` if the name is taken, as all here."""
        return Counter(name, documentation, labels, registry=self.registry)

    def gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        """Register a gauge that its owner sets; prefer `watch`."""
        return Gauge(name, documentation, labels, registry=self.registry)

    def histogram(
        self, name: str, documentation: str, labels: Sequence[str] = (), buckets: Sequence[float] = SECONDS
    ) -> Histogram:
        """Register a histogram; the buckets are seconds unless told otherwise."""
        return Histogram(name, documentation, labels, registry=self.registry, buckets=buckets)

    def watch(self, prefix: str, documentation: str, statistics: Callable[[], Mapping[str, float]]) -> None:
        """Expose each value of `statistics()` as the gauge `{prefix}_{key}`, read at scrape time."""
        self.registry.register(_Watched(prefix, documentation, statistics))

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format; its media type is `content_type`."""
        return generate_latest(self.registry)


class _Watched(Collector):
    def __init__(self, prefix: str, documentation: str, statistics: Callable[[], Mapping[str, float]]) -> None:
        self._prefix = prefix
        self._documentation = documentation
        self._statistics = statistics

    def collect(self) -> Iterable[Metric]:
        for key, value in self._statistics().items():
            yield GaugeMetricFamily(f"{self._prefix}_{key}", self._documentation, value)
