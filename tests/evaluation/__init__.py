"""Tests of tunesmith.evaluation."""
