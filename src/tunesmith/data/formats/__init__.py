"""Layouts of a row: one small file each, and one table that lists them."""
