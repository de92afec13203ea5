"""The client: a service, and the things in it."""
