"""Tests of tunesmith.evaluate.knowledge."""
