"""New genotypes from a latent space."""
