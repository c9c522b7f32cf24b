"""Tunesmith beside its peers on the same rows: not part of the package."""
