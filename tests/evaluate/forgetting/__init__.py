"""Tests of tunesmith.evaluate.forgetting."""
