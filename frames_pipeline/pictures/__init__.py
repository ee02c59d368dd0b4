"""Contact sheets and timelines as images."""
