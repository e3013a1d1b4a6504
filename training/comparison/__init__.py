"""Variants of a training run side by side: planned, run, read, and told apart with intervals and tests."""
