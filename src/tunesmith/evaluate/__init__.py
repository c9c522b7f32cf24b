"""Did it work: checks that answers must pass, and intervals for their scores."""
