"""Tests of tunesmith.evaluate.capacity."""
