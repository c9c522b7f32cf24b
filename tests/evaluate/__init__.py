"""Tests of tunesmith.evaluate."""
