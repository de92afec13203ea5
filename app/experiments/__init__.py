"""Experiments: arms of architectures, all trained alike, compared in one table."""
