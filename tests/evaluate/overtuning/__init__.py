"""Tests of tunesmith.evaluate.overtuning."""
