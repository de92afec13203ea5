"""Written from `sync/`, to be awaited: The client: a service, and the things in it."""
