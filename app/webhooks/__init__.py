"""Webhooks: addresses that are told when jobs end."""
