"""Genotypes: registered, searched, published, generated."""
