"""The names of our top-level packages whose modules run in jobs."""

from __future__ import annotations

PACKAGES = ("schemas", "engine", "teacher", "student", "pipelines")
