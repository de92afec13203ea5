"""Recipes: the named hyper-parameters of trainings, searches and latent spaces."""
