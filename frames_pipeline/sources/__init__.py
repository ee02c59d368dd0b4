"""Videos under a folder or bucket, and the sealed batches made of them."""
