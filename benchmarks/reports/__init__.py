"""Reports of four purposes, made by the product from real data, and counted again without it."""
