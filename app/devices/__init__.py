"""Devices: what each operation takes there, by which latencies are told."""
