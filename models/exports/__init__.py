"""Networks for other places."""
