"""Tests of tunesmith.config."""
