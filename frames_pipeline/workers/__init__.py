"""Worker processes for one batch: local and killable, or on a Ray cluster."""
