"""What the installed package names: the console script and the spaCy components.

spaCy is imported only when it asks for a component, so that the console script starts at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from teacher.phrases.component import make_phrases
    from teacher.phrases.tagging.tagger import make_tagger

__all__ = ["main", "make_phrases", "make_tagger"]


def main() -> None:
    """Run the command line `groundswell`."""
    from pipelines.cli import main as run_command_line

    run_command_line()


def __getattr__(name: str) -> object:
    """Load a spaCy factory; its import registers the component with spaCy."""
    if name == "make_phrases":
        from teacher.phrases import component

        return component.make_phrases
    if name == "make_tagger":
        from teacher.phrases.tagging import tagger

        return tagger.make_tagger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
