"""Labelled images, where they come from, and how alike two sets of them are."""
