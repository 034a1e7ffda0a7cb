"""Check the inputs of a benchmark while its arguments are read, so that a missing one is an error before any work."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def existing_file(expected: str) -> Callable[[str], Path]:
    """Make an argparse type: the path of a file. The error names the path and says what was expected."""
    return _existing(Path.is_file, "file", expected)


def existing_folder(expected: str) -> Callable[[str], Path]:
    """Make an argparse type: the path of a folder. The error names the path and says what was expected."""
    return _existing(Path.is_dir, "folder", expected)


def _existing(exists: Callable[[Path], bool], kind: str, expected: str) -> Callable[[str], Path]:
    def path_of(text: str) -> Path:
        path = Path(text)
        if not exists(path):
            raise argparse.ArgumentTypeError(f"{text} is not a {kind}; give {expected}")
        return path

    return path_of
