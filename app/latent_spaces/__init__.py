"""Latent spaces: trained VGAEs, and what is generated from them."""
