"""What keeps a store sound over years: files that nothing refers to, and a check of all that must hold."""
