"""Tests of `embedded`."""
