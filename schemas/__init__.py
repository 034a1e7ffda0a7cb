"""Data types: frozen records, Arrow schemas, boxes, spans, digests, reason codes and errors.

Nothing here does I/O, and nothing here imports another top-level package.
"""

PACKAGES = ("schemas", "engine", "teacher", "student", "pipelines")
"""The top-level packages whose modules run in jobs."""
