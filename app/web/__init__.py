"""The dashboard: pages over the same services as the endpoints, with ES modules that call those."""
