"""The assets, each built from the component's attributes."""
