"""Tests of the checks, one file for each kind."""
