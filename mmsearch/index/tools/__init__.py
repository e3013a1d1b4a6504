"""What operators look into: what generations hold, whether they are sound, how two differ; vectors for others."""
