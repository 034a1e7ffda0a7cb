"""Reading what strangers wrote: shard lists, tars, Parquet files, images and captions.

Promise: a sample is either read whole or rejected with a code of `schemas.codes`; nothing is skipped.
"""
