"""Genotypes: what they are drawn from, their graphs, their networks and their sizes."""
