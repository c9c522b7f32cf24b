"""The only generation loop, its cache, and how tokens are chosen."""
