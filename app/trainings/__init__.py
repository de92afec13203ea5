"""Trainings of genotypes, and the evaluations that they end in."""
