"""Benchmarks: one file each, run as `python -m bench.<name>`; each prints one JSON line last."""
