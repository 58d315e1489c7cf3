"""Tests: one file per room of the package, each named for the behaviour it shows. They need no service running."""
