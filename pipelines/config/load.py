"""Load YAML into settings: safe parsing with limits, `--set a.b=c` overrides, and errors with file, line and column.

A configuration that loads is exactly what the file and the overrides say. Nothing is guessed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from schemas.errors import ConfigError, NotFoundError

MAX_BYTES = 1 << 20
MAX_VALUES = MAX_BYTES // 2  # as many as a file without aliases can hold
MAX_VALUE_CHARACTERS = 200

Model = TypeVar("Model", bound=BaseModel)


def load_settings(path: str | Path, model: type[Model], overrides: Sequence[str] = ()) -> Model:
    """Load the settings of a YAML file, with `a.b=c` overrides applied.

    raises: NotFoundError, or ConfigError with `file:line:col` of the wrong value
    """
    path = Path(path)
    tree = read_yaml(path)
    values = _PlainValues(path).convert_mapping(tree, (0, 0))
    for keys, value in parse_overrides(overrides):
        _put(values, keys, value)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        message, location = _explain(error, model)
        where = _find_override(overrides, location) or f"{path}:{_place(tree, location)}"
        raise ConfigError(message, where=where) from None


def parse_settings(values: dict[str, Any], model: type[Model], overrides: Sequence[str], where: str) -> Model:
    """Make settings from plain values, with overrides applied. Raises ConfigError that names `where`."""
    for keys, value in parse_overrides(overrides):
        _put(values, keys, value)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        message, location = _explain(error, model)
        raise ConfigError(message, where=_find_override(overrides, location) or where) from None


def read_yaml(path: Path) -> CommentedMap:
    """Read the YAML tree of a file with line numbers. An alias stays one object, so a bomb of aliases stays small."""
    if not path.is_file():
        raise NotFoundError(f"configuration {str(path)!r} does not exist; give the path of a YAML file")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(
            f"the file has {path.stat().st_size} bytes; expected at most {MAX_BYTES}; give a YAML configuration",
            where=str(path),
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 text (byte {error.start}); give a YAML file", where=str(path)) from None
    yaml = YAML(typ="rt", pure=True)
    try:
        tree = yaml.load(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigError(f"not valid YAML: {error.problem}", where=where) from None
    except (YAMLError, RecursionError) as error:
        raise ConfigError(f"not valid YAML: {_first_line(error)}", where=str(path)) from None
    if not isinstance(tree, CommentedMap):
        raise ConfigError(
            f"the top level is {type(tree).__name__}; expected a mapping of sections, e.g. `input: ...`",
            where=f"{path}:1:1",
        )
    return tree


def parse_overrides(overrides: Sequence[str]) -> list[tuple[list[str], Any]]:
    """Parse `["a.b=1"]` to `[(["a", "b"], 1)]`. Values are YAML scalars, lists or mappings."""
    parsed = []
    for item in overrides:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise ConfigError(f"--set {item!r}: expected NAME=VALUE, e.g. --set teacher.model=./teacher")
        try:
            parsed.append((name.split("."), YAML(typ="safe", pure=True).load(value)))
        except (YAMLError, RecursionError) as error:
            raise ConfigError(f"--set {item!r}: the value is not valid YAML: {_first_line(error)}") from None
    return parsed


def _first_line(error: Exception) -> str:
    """Return the message of a YAML error, or the name of its type if it has none."""
    problem = getattr(error, "problem", None) or str(error).strip().split("\n", 1)[0]
    return str(problem or type(error).__name__)


class _PlainValues:
    """Convert a YAML tree to plain dictionaries, lists and scalars. Refuse tags and other types with their place."""

    def __init__(self, path: Path) -> None:
        self._path, self._left = path, MAX_VALUES

    def convert_mapping(self, value: CommentedMap, place: tuple[int, int]) -> dict[str, Any]:
        """Return a plain dictionary. place: its line and column, from 0."""
        self._check(value, place)
        return {
            str(key): self._convert(item, value.lc.data.get(key, [*place] * 2)[2:])
            for key, item in value.items()
        }

    def _convert(self, value: object, place: tuple[int, int]) -> object:
        if isinstance(value, CommentedMap):
            return self.convert_mapping(value, place)
        self._check(value, place)
        if isinstance(value, CommentedSeq):
            return [self._convert(item, value.lc.data.get(index, place)) for index, item in enumerate(value)]
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, str):
            return self._join_surrogates(str(value), place)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value)
        name = type(value).__name__
        self._refuse(place, f"a value of type {name} is not allowed; use text, numbers, lists or mappings")

    def _check(self, value: object, place: tuple[int, int]) -> None:
        """Count a value against the limit, and refuse a tag."""
        self._left -= 1
        if self._left < 0:
            self._refuse(place, f"more than {MAX_VALUES} values when its aliases are written out; use fewer")
        tag = getattr(getattr(value, "tag", None), "value", None)
        if tag is not None:
            self._refuse(place, f"the tag {tag} is not allowed; use text, numbers, lists or mappings")

    def _join_surrogates(self, value: str, place: tuple[int, int]) -> str:
        """Join the two halves of a rare character, which JSON writes as two escapes."""
        try:
            return value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._refuse(place, f"{value[:40]!r} contains half of a character; write it as UTF-8 text")

    def _refuse(self, place: tuple[int, int], message: str) -> NoReturn:
        raise ConfigError(message, where=f"{self._path}:{place[0] + 1}:{place[1] + 1}")


def _put(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ConfigError(
                f"--set {'.'.join(keys)}: {key!r} is a value, not a section; name a field of a section"
            )
    values[keys[-1]] = value


def _explain(error: ValidationError, model: type[BaseModel]) -> tuple[str, list[int | str]]:
    """Return the first mistake as a sentence with the number of others, and its location in the settings."""
    problems = error.errors(include_url=False)
    # a misspelled field is also reported as missing: report the misspelling, which the user can see
    first, *others = sorted(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    location = list(first["loc"])
    name = ".".join(str(part) for part in location)
    message = f"{name or 'as a whole'}: {_format_problem(first, location, model)}"
    if others:
        message += f" (and {len(others)} more)"
    return message, location


def _format_problem(problem: ErrorDetails, location: list[int | str], model: type[BaseModel]) -> str:
    if problem["type"] == "extra_forbidden":
        near = _find_near_field(location, model)
        return "unknown field" + (f"; did you mean {near!r}?" if near else "")
    if problem["type"] == "missing":
        return "this field is missing; add it"
    found = repr(problem["input"])
    message = problem["msg"].removeprefix("Value error, ")
    return f"{message}; found {found if len(found) <= MAX_VALUE_CHARACTERS else found[:MAX_VALUE_CHARACTERS] + '...'}"


def _find_override(overrides: Sequence[str], location: Sequence[int | str]) -> str | None:
    """Return the last `--set` that gave the value at a location, or a part of it; None if the file gave it.

    A mistake of the settings as a whole may be one of all overrides.
    """
    parts = [str(part) for part in location]
    if overrides and not parts:
        return " ".join(f"--set {item}" for item in overrides)
    for item, (keys, _) in zip(reversed(overrides), reversed(parse_overrides(overrides)), strict=True):
        common = min(len(keys), len(parts))
        if keys[:common] == parts[:common]:
            return f"--set {item}"
    return None


def _find_near_field(location: Sequence[int | str], model: type[BaseModel]) -> str | None:
    """Return the field that an unknown one may mean: in the same section by its name, elsewhere by its whole path."""
    schema = model.model_json_schema()
    paths = set(_list_fields(schema, schema.get("$defs", {}), (), ()))
    *section, name = [str(part) for part in location if isinstance(part, str)]
    siblings = sorted(path[-1] for path in paths if list(path[:-1]) == section)
    if near := difflib.get_close_matches(name, siblings, n=1):
        return near[0]
    by_name: dict[str, list[str]] = {}
    for path in sorted(paths, key=lambda path: (len(path), path)):
        by_name.setdefault(path[-1], []).append(".".join(path))
    elsewhere = difflib.get_close_matches(name, list(by_name), n=1)
    return by_name[elsewhere[0]][0] if elsewhere else None


def _list_fields(
    schema: Mapping[str, Any], parts: Mapping[str, Any], path: tuple[str, ...], inside: tuple[str, ...]
) -> Iterator[tuple[str, ...]]:
    """Yield the path of each field of a JSON Schema, those of sections, lists and alternatives included.

    inside: the references that lead here, since a schema may contain itself
    """
    if (reference := schema.get("$ref")) is not None:
        if reference not in inside:
            part = parts.get(reference.rpartition("/")[2], {})
            yield from _list_fields(part, parts, path, (*inside, reference))
        return
    for name, field in schema.get("properties", {}).items():
        yield (*path, name)
        yield from _list_fields(field, parts, (*path, name), inside)
    for other in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from _list_fields(other, parts, path, inside)
    if isinstance(items := schema.get("items"), dict):
        yield from _list_fields(items, parts, path, inside)


def _place(tree: object, location: Sequence[int | str]) -> str:
    """Return `line:col` of the deepest part of a location that is in the file."""
    line, column = 0, 0
    for part in location:
        try:
            if isinstance(tree, CommentedMap):
                line, column = tree.lc.key(part)
            elif isinstance(tree, CommentedSeq):
                line, column = tree.lc.item(part)
            else:
                break
            tree = tree[part]
        except (KeyError, IndexError, TypeError, AttributeError):
            break
    return f"{line + 1}:{column + 1}"
