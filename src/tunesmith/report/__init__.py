"""Pages of results: plots, answers, and what is needed to do it again."""
