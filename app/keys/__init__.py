"""Keys: who may use the service, for what, and how much."""
