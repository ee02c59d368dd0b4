"""Tables of a batch: schemas, rows, digests, Parquet."""
