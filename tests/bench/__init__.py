"""Benchmarks: `make bench-gateway`, `bench-failover`, `bench-bindings`. What they found: docs/benchmarks.md."""
