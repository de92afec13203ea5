"""The HTTP service: what a client sees."""
