"""Benchmarks: `make bench-gateway` and the others of `make help`. What they found: docs/benchmarks.md."""
