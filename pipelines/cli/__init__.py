"""The command line. Each verb is a file in `verbs/`; nothing heavy is imported before a verb runs."""

from pipelines.cli.app import build_app, main

__all__ = ["build_app", "main"]
