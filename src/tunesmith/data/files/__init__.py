"""Kinds of files: one small file each, and one table that lists them."""
