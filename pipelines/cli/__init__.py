"""The command line: one small file a family of verbs, nothing heavy imported before a verb runs."""

from pipelines.cli.app import build_app, main

__all__ = ["build_app", "main"]
