"""Ways to choose the clips of a video."""
