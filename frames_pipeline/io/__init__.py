"""Object stores and local files: requests, retries, checksums, copies of remote videos."""
