"""How work is done: storage, shard readers, image decoding, units, the actor pool, commits and snapshots.

The engine knows neither torch nor any teacher; it meets one through `schemas.labeler`.
"""
