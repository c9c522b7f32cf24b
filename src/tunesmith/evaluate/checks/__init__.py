"""The kinds of checks, one file each; `table.py` lists them."""
