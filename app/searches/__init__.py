"""Architecture searches."""
