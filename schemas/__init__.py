"""Data types and their rules: frozen records, Arrow schemas, boxes, spans, digests, reason codes, errors, registries.

Nothing here imports another top-level package, except that a registry imports the entries it is asked for. The only I/O
is reading: a file whose digest is asked for, and the folder of a registry.
"""

PACKAGES = ("schemas", "engine", "teacher", "student", "pipelines")
"""The top-level packages whose modules run in jobs."""
