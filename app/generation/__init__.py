"""Generating architectures from a latent space, at once."""
