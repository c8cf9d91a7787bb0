"""Benchmarks: `make bench-gateway` and `make bench-failover`. What they found: docs/benchmarks.md."""
