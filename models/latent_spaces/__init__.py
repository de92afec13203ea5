"""Latent spaces: the graph auto-encoder, its training, and what its directions mean."""
