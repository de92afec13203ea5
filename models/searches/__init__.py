"""Architecture search on a data set."""
