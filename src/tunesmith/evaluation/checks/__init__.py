"""Rules that an answer must pass, a file for each family."""
