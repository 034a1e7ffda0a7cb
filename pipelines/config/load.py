"""YAML to settings: safe parsing with caps, `--set a.b=c` overrides, and errors that name the place.

Promise: a configuration that loads is exactly what the file and the overrides say; nothing is guessed.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from schemas.errors import ConfigError, NotFound

MAX_BYTES = 1 << 20
MAX_VALUES = MAX_BYTES // 2  # as many as a file without aliases can hold
MAX_SHOWN = 200

Model = TypeVar("Model", bound=BaseModel)


def load_settings(path: str | Path, model: type[Model], overrides: Sequence[str] = ()) -> Model:
    """The settings in a YAML file, with `a.b=c` overrides applied.

    raises: NotFound, or ConfigError with `file:line:col` of the value that is wrong
    """
    path = Path(path)
    tree = read_yaml(path)
    values = _Plain(path).of(tree, (0, 0))
    for keys, value in parse_overrides(overrides):
        _put(values, keys, value)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(*_explain(error, path, tree, model)) from None


def settings_of(values: dict[str, Any], model: type[Model], overrides: Sequence[str], where: str) -> Model:
    """Settings from plain values, with overrides applied. Raises ConfigError that names `where`."""
    for keys, value in parse_overrides(overrides):
        _put(values, keys, value)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        message, _ = _explain(error, Path(where), values, model)
        raise ConfigError(message, where=where) from None


def read_yaml(path: Path) -> Any:
    """The YAML tree of a file, with line numbers kept; an alias stays one object, so that a bomb of them is small."""
    if not path.is_file():
        raise NotFound(f"configuration {str(path)!r} does not exist; give the path of a YAML file")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(
            f"{path.stat().st_size} bytes; a configuration has at most {MAX_BYTES}", where=str(path)
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"not UTF-8 text (byte {error.start}); expected a YAML file", where=str(path)
        ) from None
    yaml = YAML(typ="rt", pure=True)
    try:
        tree = yaml.load(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigError(f"not valid YAML: {error.problem}", where=where) from None
    except (YAMLError, RecursionError) as error:
        raise ConfigError(f"not valid YAML: {_first_line(error)}", where=str(path)) from None
    if not isinstance(tree, dict):
        raise ConfigError("expected a mapping of sections at the top", where=f"{path}:1:1")
    return tree


def parse_overrides(overrides: Sequence[str]) -> list[tuple[list[str], Any]]:
    """`["a.b=1"]` as `[(["a", "b"], 1)]`; values are YAML scalars, lists or mappings."""
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
    """A YAML error's own sentence, or the error's kind where it has none."""
    problem = getattr(error, "problem", None) or str(error).strip().split("\n", 1)[0]
    return str(problem or type(error).__name__)


class _Plain:
    """Plain dictionaries, lists and scalars of a tree: what is tagged or of another type is refused by its place."""

    def __init__(self, path: Path) -> None:
        self._path, self._left = path, MAX_VALUES

    def of(self, value: Any, place: tuple[int, int]) -> Any:
        """The plain value. place: its line and column, from 0"""
        self._left -= 1
        if self._left < 0:
            self._refuse(place, f"more than {MAX_VALUES} values once its aliases are written out; use fewer")
        tag = getattr(getattr(value, "tag", None), "value", None)
        if tag is not None:
            self._refuse(place, f"the tag {tag} is not allowed; use text, numbers, lists or mappings")
        if isinstance(value, dict):
            return {
                str(key): self.of(item, value.lc.data.get(key, [*place] * 2)[2:])
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self.of(item, value.lc.data.get(index, place)) for index, item in enumerate(value)]
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, str):
            return self._text(str(value), place)
        for kind in (int, float):
            if isinstance(value, kind):
                return kind(value)
        name = type(value).__name__
        self._refuse(place, f"a value of type {name} is not allowed; use text, numbers, lists or mappings")

    def _text(self, value: str, place: tuple[int, int]) -> str:
        """JSON writes a rare character as two escapes, which YAML reads as two halves; they are put together."""
        try:
            return value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._refuse(place, f"{value[:40]!r} holds half of a character; write it as UTF-8 text")

    def _refuse(self, place: tuple[int, int], message: str) -> NoReturn:
        raise ConfigError(message, where=f"{self._path}:{place[0] + 1}:{place[1] + 1}")


def _put(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {'.'.join(keys)}: {key!r} is not a section")
    values[keys[-1]] = value


def _explain(error: ValidationError, path: Path, tree: Any, model: type[BaseModel]) -> tuple[str, str]:
    """The first mistake as a sentence, the number of others, and the place in the file."""
    problems = error.errors(include_url=False)
    # a misspelt field is also a missing one: the misspelling is what the user can see
    first, *others = sorted(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    location = list(first["loc"])
    name = ".".join(str(part) for part in location)
    message = f"{name or 'as a whole'}: {_sentence(first, location, model)}"
    if others:
        message += f" (and {len(others)} more)"
    return message, f"{path}:{_place(tree, location)}"


def _sentence(problem: Any, location: list[Any], model: type[BaseModel]) -> str:
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1]), sorted(_field_names(model)), n=1)
        return "unknown field" + (f"; did you mean {near[0]!r}?" if near else "")
    if problem["type"] == "missing":
        return "this field is needed and is not there"
    found = repr(problem["input"])
    said = problem["msg"].removeprefix("Value error, ")
    return f"{said}; found {found if len(found) <= MAX_SHOWN else found[:MAX_SHOWN] + '...'}"


def _field_names(model: type[BaseModel]) -> set[str]:
    """Names of all fields of a settings class and of the sections within it."""
    schema = model.model_json_schema()
    names = set(schema.get("properties", {}))
    for part in schema.get("$defs", {}).values():
        names |= set(part.get("properties", {}))
    return names


def _place(tree: Any, location: list[Any]) -> str:
    """`line:col` of the deepest part of a location that the file holds."""
    line, column = 0, 0
    for part in location:
        try:
            if isinstance(tree, dict):
                line, column = tree.lc.key(part)
            else:
                line, column = tree.lc.item(part)
            tree = tree[part]
        except (KeyError, IndexError, TypeError, AttributeError):
            break
    return f"{line + 1}:{column + 1}"
