"""One script a side; each prints one JSON line."""
