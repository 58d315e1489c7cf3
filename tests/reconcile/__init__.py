"""Tests of `receiver.reconcile`, against the emulated ESC and a real PostgreSQL."""
