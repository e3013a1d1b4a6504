"""From tables and media files to prepared corpora: `tables`, `interactions`, `prepare`, `prepared` and more."""
