"""Tests of tunesmith.evaluate.consistency."""
