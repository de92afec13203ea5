"""Evaluations: measured results of genotypes and reference networks on data sets."""
