"""Freshness: a stream of changed videos becomes small overlays of the served generation, every few seconds."""
