"""Proposals: architectures for a data set from one call."""
