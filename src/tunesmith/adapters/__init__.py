"""Adapters on disk: written and read in PEFT's format."""
