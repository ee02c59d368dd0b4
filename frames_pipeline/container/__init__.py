"""A file as a container: hardened open, packet index, timestamps, demuxed and sampled packets."""
