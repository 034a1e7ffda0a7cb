"""The engine: storage, shard readers, image decoding, units of work, executors, commits and snapshots.

The engine depends neither on torch nor on any teacher. It uses a teacher through `schemas.labeler`.
"""
