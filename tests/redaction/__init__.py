"""Tests of `redaction`."""
