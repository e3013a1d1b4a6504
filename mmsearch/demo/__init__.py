"""A simulated world of short videos, its searchers and its judges: `mmsearch demo`."""
