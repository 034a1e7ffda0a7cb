"""A verb of the command line: a decorated function that registers itself in its file's family.

A file in `pipelines/cli/verbs/` defines `ENTRY = VerbFamily(...)` and decorates its functions with `@ENTRY.verb(...)`.
That is all it takes to add a verb. docs/how-to describes it.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import traceback
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ParamSpec, Union, get_args, get_origin

import typer
from typer.models import ArgumentInfo, OptionInfo

from pipelines.cli.error_text import explain_error
from pipelines.terminal.output import print_message
from pipelines.terminal.progress import mute_progress

VerbFunction = Callable[..., None]
Parameters = ParamSpec("Parameters")
EVERY_VERB = {
    "debug": typer.Option(
        False, "--debug", envvar="GROUNDSWELL_DEBUG", help="Also print the traceback of an error."
    ),
    "no_progress": typer.Option(
        False, "--no-progress", envvar="GROUNDSWELL_NO_PROGRESS", help="Print no progress on stderr."
    ),
}
"""Options that `handle_errors` adds to every verb."""
_METAVARS: dict[object, str] = {Path: "PATH", str: "TEXT", int: "N", float: "NUMBER"}


@dataclass(frozen=True)
class Verb:
    """One verb: its name on the command line, its function, and the examples at the end of its help."""

    name: str
    run: VerbFunction
    examples: tuple[str, ...]


class VerbFamily:
    """The verbs of one file, in the order of definition.

    order: position of the family in `groundswell --help`; 10, 20, ... are the built-in ones
    group: if given, the verbs are `groundswell GROUP VERB`, and `help` describes the group
    """

    def __init__(self, *, order: int, group: str | None = None, help: str = "") -> None:
        self.order, self.group, self.help = order, group, help
        self.verbs: list[Verb] = []

    def verb(self, name: str, *examples: str) -> Callable[[VerbFunction], VerbFunction]:
        """Register the decorated function as a verb. Its docstring is the help text; examples are command lines."""

        def register(function: VerbFunction) -> VerbFunction:
            wrapped = handle_errors(function)
            self.verbs.append(Verb(name, wrapped, examples))
            return wrapped

        return register

    def top_level_names(self) -> list[str]:
        """Return the names that the family adds to `groundswell --help`."""
        return [verb.name for verb in self.verbs] if self.group is None else [self.group]

    def add_to(self, app: typer.Typer) -> None:
        """Add the verbs to a Typer application, within a group of their own if the family has one."""
        target = app
        if self.group is not None:
            target = typer.Typer(help=self.help, no_args_is_help=True, rich_markup_mode=None)
            target.callback()(_keep_group)
            app.add_typer(target, name=self.group)
        for verb in self.verbs:
            target.command(verb.name, epilog=format_examples(*verb.examples))(verb.run)


def _keep_group() -> None:
    """Do nothing: without a callback, Typer turns a group with one verb into that verb."""


def format_examples(*lines: str) -> str:
    """Return the end of a help text: examples, one per line."""
    return "\b\nExample:\n" + "\n".join("  " + line for line in lines)


def handle_errors(function: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Wrap a verb: an error becomes a message on stderr and an exit code. Adds the options EVERY_VERB."""

    @functools.wraps(function)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        debug, no_progress = bool(kwargs.pop("debug", False)), bool(kwargs.pop("no_progress", False))
        try:
            with mute_progress(no_progress):
                function(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except (Exception, KeyboardInterrupt) as error:
            if debug:
                print_message(traceback.format_exc().rstrip())
            message, code = explain_error(error)
            print_message("\n".join([message, *getattr(error, "__notes__", ())]))
            raise typer.Exit(code) from None

    signature = inspect.signature(function, eval_str=True)
    for parameter in signature.parameters.values():
        _set_metavar(parameter)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=bool)
        for name, option in EVERY_VERB.items()
    ]
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *added])  # type: ignore[attr-defined]
    run.__annotations__ = {**function.__annotations__, **dict.fromkeys(EVERY_VERB, bool)}
    return run


def _set_metavar(parameter: inspect.Parameter) -> None:
    """Name an argument or the value of an option in the help by a word. Typer would print a Python type."""
    annotation, default = parameter.annotation, parameter.default
    candidates = get_args(annotation)[1:] if get_origin(annotation) is Annotated else (default,)
    for info in candidates:
        if isinstance(info, ArgumentInfo):
            info.metavar = info.metavar or parameter.name.upper()
        elif isinstance(info, OptionInfo):
            info.metavar = info.metavar or _METAVARS.get(_find_value_type(annotation))


def _find_value_type(annotation: object) -> object:
    """Return the type of one value: `list[Path] | None` gives Path."""
    while arguments := [one for one in get_args(annotation) if one is not type(None)]:
        if get_origin(annotation) not in (Annotated, Union, types.UnionType, list):
            break  # a Literal, of which Typer lists the values
        annotation = arguments[0]
    return annotation
