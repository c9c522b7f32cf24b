"""From documents to the passages that answer a question; knows no model and no generation."""
