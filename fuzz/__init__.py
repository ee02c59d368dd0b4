"""Run the real extraction on mutated videos: `python -m fuzz`."""
