"""Background work: its state, its events, its queue."""
