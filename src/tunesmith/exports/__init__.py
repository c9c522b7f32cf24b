"""Adapters and models written for other programs, and compared there."""
