"""Benchmarks: exact frames against peers and against the floor. `python -m benchmarks`."""
