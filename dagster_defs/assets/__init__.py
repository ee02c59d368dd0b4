"""The assets, each built from what the component's attributes say."""
