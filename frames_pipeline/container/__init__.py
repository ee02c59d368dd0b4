"""Open media files safely, and index their packets and timestamps."""
