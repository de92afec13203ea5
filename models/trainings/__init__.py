"""Training networks from scratch on a data set."""
