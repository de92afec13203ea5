"""Tracking: jobs as runs of an MLflow server."""
