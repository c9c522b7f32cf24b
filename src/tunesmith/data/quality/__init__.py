"""Warnings about rows that a run accepts: one question per file."""
