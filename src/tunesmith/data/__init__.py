"""Rows in: read, checked, rendered with the model's own chat template, packed into arrays."""
