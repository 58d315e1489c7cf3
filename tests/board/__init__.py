"""Tests of `board`."""
