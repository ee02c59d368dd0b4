"""Benchmarks: exact frames against other tools and against the minimal decode.

`python -m benchmarks`.
"""
