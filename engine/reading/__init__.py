"""Read untrusted input: shard lists, tars, Parquet files, images and captions.

A sample is either read completely or rejected with a code of `schemas.codes`. Nothing is skipped.
"""
