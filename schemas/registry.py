"""A registry of one open set: teachers, chunkers, exporters, importers, policy rules, command-line verbs.

An entry is an object of the set's entry type. It comes from one of three places:

- a file of the set's folder that defines `ENTRY`. The file's name is the entry's name.
- an entry point of the set's group, such as `groundswell.chunkers`, in an installed package
- `module:attribute` instead of a name, in a configuration

Listing imports no entry: the folder's files are searched for a line that begins with `ENTRY`. An entry's file is
imported when the entry is loaded. Keep torch, spaCy and the like out of its top level if `--help` or a
configuration loads it.

    # chunkers/ngrams.py
    ENTRY = ChunkerEntry(description="runs of words", make=make_ngrams)

    # chunkers/registry.py, which owns the set (in `__init__.py` of the folder, `__name__` is the same)
    CHUNKERS = Registry(__package__, ChunkerEntry, noun="chunker", group="groundswell.chunkers",
                        setting="phrases.chunker")

    CHUNKERS.names()                     ("given", "ngrams", ...), sorted
    CHUNKERS.load("ngrams")              the ENTRY
    CHUNKERS.load("my_package.words:ENTRY")
    CHUNKERS.reference("ngrams")         "<package>.ngrams:ENTRY", for a process that must import it
    CHUNKERS.load_all()                  {"given": ENTRY, ...} in the order of the names, without installed
                                         entries that cannot be loaded

A reference may also name a subclass of the entry type. It is called without arguments.

Every mistake is a ConfigError that names the remedy: an unknown name (known names are listed), a name that two entries
have, a module whose import raises anything, an attribute of another type. A pydantic validator turns it into a
ValueError, so that the error names the place in the user's file:

    @field_validator("chunker")
    @classmethod
    def _check_chunker(cls, name: str) -> str:
        return CHUNKERS.check(name)
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Callable
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from typing import Generic, TypeVar

from schemas.errors import ConfigError

log = logging.getLogger(__name__)
E = TypeVar("E")

ENTRY = "ENTRY"
REFERENCE_PATTERN = "^[^:]+:[^:]+$"
"""Matches `module:attribute` in a JSON schema. `Registry.reference` is stricter."""
_DEFINES_ENTRY = re.compile(rb"^ENTRY\b\s*[:=]", re.MULTILINE)
_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)


class Registry(Generic[E]):
    """The entries of one open set, by name."""

    def __init__(
        self,
        package: str,
        entry_type: type[E],
        *,
        noun: str,
        group: str,
        setting: str | None = None,
        name_of_file: Callable[[str], str] = str,
        adapt: Callable[[object, str], E | None] | None = None,
    ) -> None:
        """Keep where the entries are. Nothing is read or imported yet.

        package: import name of the folder that holds the built-in entries, e.g. `__package__` of a module in it
        noun: what an entry is called in error texts, e.g. `chunker`
        group: entry-point group of installed packages
        setting: configuration field that holds a name, for error texts. None: names come from elsewhere.
        name_of_file: entry name for a file name without `.py`, e.g. to put a hyphen for an underscore
        adapt: makes an entry of an object that is none (object, reference), e.g. of a plain class of the user. None:
               the object cannot be adapted
        """
        self.noun = noun
        self.group = group
        self._package = package
        self._entry_type = entry_type
        self._setting = setting
        self._name_of_file = name_of_file
        self._adapt = adapt
        self._loaded: dict[str, E] = {}
        self._clashes: dict[str, str] = {}
        self._reported: set[str] = set()

    def names(self) -> tuple[str, ...]:
        """Return the names of built-in and installed entries, sorted. Imports no entry.

        Of two entries with one name, the first is listed (a built-in one before others), and the other is reported.
        """
        return tuple(self._references)

    def is_built_in(self, name: str) -> bool:
        """Return whether the entry is a file of the set's folder."""
        return name in self._built_in

    def reference(self, name: str) -> str:
        """Return `module:attribute` of an entry. `name` may be one already.

        Raises ConfigError for an unknown name and for one that two entries have.
        """
        if ":" in name:
            if not _REFERENCE.fullmatch(name):
                raise ConfigError(
                    f"{self._named(name)} is not of the form module:attribute; write e.g. my_package.my_module:{ENTRY}"
                )
            return name
        if name not in self._references:
            raise ConfigError(
                f"{self._named(name)} is unknown; expected one of {', '.join(self.names())}, or module:attribute of an "
                f"entry of your own"
            )
        if name in self._clashes:
            raise ConfigError(self._clashes[name])
        return self._references[name]

    def check(self, name: str) -> str:
        """Return `name` if its entry can be loaded. Raises ValueError, as pydantic validators must."""
        try:
            self.load(name)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return name

    def load(self, name: str) -> E:
        """Import and return the entry of a name or a `module:attribute`. Raises ConfigError."""
        return self._load(self.reference(name), name)

    def load_all(self, report: Callable[[str, ConfigError], None] | None = None) -> dict[str, E]:
        """Import all entries, and return them by name, in the order of the names.

        An entry of another package that cannot be loaded is reported and left out. Raises ConfigError for a built-in
        one. Of two entries with one name, the first is returned.
        report: called with name and error of an entry that is left out. None: it is logged once
        """
        loaded: dict[str, E] = {}
        for name, reference in self._references.items():
            try:
                loaded[name] = self._load(reference, name)
            except ConfigError as error:
                if self.is_built_in(name):
                    raise
                if report is not None:
                    report(name, error)
                else:
                    self._warn_of_left_out(name, self._packages[name], str(error))
        return loaded

    def _load(self, reference: str, name: str) -> E:
        if reference not in self._loaded:
            self._loaded[reference] = self._import(reference, self._named(name))
        return self._loaded[reference]

    def _warn_of_left_out(self, name: str, package: str, reason: str) -> None:
        if reason not in self._reported:
            self._reported.add(reason)
            log.warning(
                "the entry point %r (%s) of the package %r is left out: %s", name, self.group, package, reason
            )

    @cached_property
    def _built_in(self) -> dict[str, str]:
        return dict(self._list_folder())

    @cached_property
    def _packages(self) -> dict[str, str]:
        """Return the installed package of each entry point's name, of the first if there are two."""
        packages: dict[str, str] = {}
        for point in entry_points(group=self.group):
            packages.setdefault(point.name, _package_of(point))
        return packages

    @cached_property
    def _references(self) -> dict[str, str]:
        found = dict(self._built_in)
        for point in entry_points(group=self.group):
            before = found.setdefault(point.name, point.value)
            if before != point.value:
                self._clashes[point.name] = (
                    f"{self._named(point.name)} has two entries, {before} and {point.value} (entry-point group "
                    f"{self.group}); uninstall one package or rename its entry point"
                )
                self._warn_of_left_out(point.name, _package_of(point), self._clashes[point.name])
        return dict(sorted(found.items()))

    def _list_folder(self) -> list[tuple[str, str]]:
        modules = (
            file.name.removesuffix(".py")
            for file in files(self._package).iterdir()
            if file.name.endswith(".py") and _DEFINES_ENTRY.search(file.read_bytes())
        )
        return [(self._name_of_file(module), f"{self._package}.{module}:{ENTRY}") for module in modules]

    def _import(self, reference: str, named: str) -> E:
        module_name, _, attribute = reference.partition(":")
        try:
            entry = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"{named} cannot be loaded from {reference} ({error}); install the package, or correct the name"
            ) from error
        except ConfigError as error:  # of the entry itself, which names the remedy
            raise ConfigError(f"{named}: {reference}: {error}") from error
        except Exception as error:  # a module of somebody else can raise anything while it is imported
            raise ConfigError(
                f"{named} cannot be loaded from {reference} ({type(error).__name__}: {error}); correct the module, or "
                "install a version of its package that works"
            ) from error
        if isinstance(entry, type) and issubclass(entry, self._entry_type):
            try:
                entry = entry()
            except ConfigError as error:
                raise ConfigError(f"{named}: {reference}: {error}") from error
            except Exception as error:
                raise ConfigError(
                    f"{named}: {reference} cannot be called without arguments ({type(error).__name__}: {error})"
                ) from error
        if not isinstance(entry, self._entry_type) and self._adapt is not None:
            entry = self._adapt(entry, reference) or entry
        if not isinstance(entry, self._entry_type):
            raise ConfigError(
                f"{named}: {reference} is of type {type(entry).__name__}, expected {self._entry_type.__name__} or a "
                f"subclass of it"
            )
        return entry

    def _named(self, name: str) -> str:
        return f"{self.noun} {name!r}" + (f" ({self._setting})" if self._setting else "")


def _package_of(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "unknown"
