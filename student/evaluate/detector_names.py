"""The names of a detector's classes, and the categories of the gold that match them.

Promise: COCO's names are assumed only for a model of 80 classes without any other source of names, and stderr says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from engine.reading.user_text import read_json, read_text
from schemas.errors import ConfigError
from student.gold.class_names import clean_name
from student.gold.coco.types import CocoId, GoldCategory
from teacher.detectors.class_metadata import fold_name, parse_names
from teacher.detectors.coco_classes import COCO_CLASSES
from teacher.detectors.directory.config import NO_NAME
from teacher.detectors.formats import OwnNames, find_format

_FILE_PATTERNS = (
    "{stem}.names",
    "{stem}.names{kind}",
    "{stem}.classes{kind}",
    "{stem}.txt",
    "names{kind}",
    "classes{kind}",
)
_KINDS = (".txt", ".json", ".yaml", ".yml")
_MAX_LISTED = 5


@dataclass(frozen=True)
class MatchedClasses:
    """The gold's category for each class; None for a class that the gold does not have.

    facts: for the report: the source of the names, and what did not match. Outputs without a class are in neither
    notes: for a reader of the numbers
    """

    categories: tuple[CocoId | None, ...]
    facts: dict[str, str | int | list[str]]
    notes: list[str]


def class_list(model: Path, names_file: Path | None = None, stated: Sequence[str] | None = None) -> OwnNames:
    """Return the names of a model's classes, from the first source that exists.

    The sources are the file given, `stated`, the model itself, a file next to it, and COCO's names.

    stated: names in the teacher's settings
    raises: NotFoundError; ConfigError for names that cannot be read, for another number of names than classes, and
            for a model without any names, unless it is an ONNX file of COCO's 80 classes
    """
    form = find_format(str(model))
    count = form.count_classes(model)
    own = OwnNames(tuple(stated), "teacher.classes") if stated else None
    found = _read_given(names_file) or own or form.read_names(model) or _read_neighbor(model)
    remedy = "give --names FILE with one name for each class, in the order of the outputs"
    if stated is not None and names_file is None:
        remedy = "correct teacher.classes"
    if found is None:
        if not form.may_be_coco:
            raise ConfigError(f"{model}: its config.json does not name its classes in id2label; {remedy}")
        if count not in (None, len(COCO_CLASSES)):
            raise ConfigError(
                f"{model}: {count} classes without names (no metadata 'names', no file such as "
                f"{model.stem}.names next to it), and COCO has {len(COCO_CLASSES)}; {remedy}"
            )
        return OwnNames(
            COCO_CLASSES, "COCO's 80 names, assumed since nothing names its classes (--names FILE does)"
        )
    if count is not None and len(found.names) != count:
        raise ConfigError(
            f"{model}: {count} classes, but {len(found.names)} names in {found.source} ({_list_names(found.names)}); "
            f"{remedy}"
        )
    return found


def match_classes(model: Path, classes: OwnNames, gold: Sequence[GoldCategory]) -> MatchedClasses:
    """Return the category of each class: of the same name, else of a name that differs in case or blanks alone.

    raises: ConfigError if no class is a category of the gold
    """
    exact = {category["name"]: category["id"] for category in gold}
    by_key: dict[str, list[CocoId]] = {}
    for category in gold:
        if category["name"] not in set(classes.names):
            by_key.setdefault(_fold_name(category["name"]), []).append(category["id"])
    alike = {key: ids[0] for key, ids in by_key.items() if len(ids) == 1}
    found = [_find_category(name, exact, alike) for name in classes.names]
    met = {category for category in found if category is not None}
    missing = [name for name, category in zip(classes.names, found, strict=True) if name and category is None]
    unasked = [category["name"] for category in gold if category["id"] not in met]
    if not met:
        raise ConfigError(
            f"{model}: none of its {len(found)} classes ({_list_names(classes.names)}; {classes.source}) is one of the "
            f"gold's {len(gold)} categories ({_list_names(unasked)}); give the names of its classes by --names FILE"
        )
    changed = [
        f"{name} = {next(c['name'] for c in gold if c['id'] == category)}"
        for name, category in zip(classes.names, found, strict=True)
        if category is not None and name not in exact
    ]
    facts: dict[str, str | int | list[str]] = {
        "names": classes.source,
        "matched": len(met),
        "unmatched": missing,
        "unmatched_categories": unasked,
    }
    return MatchedClasses(tuple(found), facts, _make_notes(classes, missing, unasked, changed, len(gold)))


def _make_notes(
    classes: OwnNames, missing: list[str], unasked: list[str], changed: list[str], categories: int
) -> list[str]:
    notes = [f"class names: {classes.source}"]
    if missing:
        notes.append(
            f"{len(missing)} of {len(classes.names)} classes are not a category of the gold and are left out: "
            f"{_list_names(missing)}"
        )
    if unasked:
        notes.append(
            f"{len(unasked)} of {categories} categories of the gold are not a class of the model and count as not "
            f"found: {_list_names(unasked)}"
        )
    if changed:
        notes.append(f"{len(changed)} classes match by case, blanks or synonym: {_list_names(changed)}")
    return notes


def _find_category(
    name: str | None, exact: Mapping[str, CocoId], alike: Mapping[str, CocoId]
) -> CocoId | None:
    return None if name is None else exact.get(name, alike.get(_fold_name(name)))


def _list_names(names: Sequence[str | None]) -> str:
    return ", ".join(name or NO_NAME for name in names[:_MAX_LISTED]) + (
        f", ... ({len(names)})" if len(names) > _MAX_LISTED else ""
    )


def _fold_name(name: str) -> str:
    return fold_name(clean_name(name))


def _read_given(path: Path | None) -> OwnNames | None:
    return None if path is None else OwnNames(_read_names(path, "--names"), f"--names {path}")


def _read_neighbor(model: Path) -> OwnNames | None:
    if model.is_dir():
        return None
    for pattern in _FILE_PATTERNS:
        for kind in _KINDS if "{kind}" in pattern else ("",):
            path = model.parent / pattern.format(stem=model.stem, kind=kind)
            if path.is_file():
                return OwnNames(_read_names(path, "names of the classes"), f"{path}")
    return None


def _read_names(path: Path, option: str) -> tuple[str, ...]:
    """Return the names in a file: JSON or YAML by its suffix, else one per line."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        value = read_json(path, option)
    elif suffix in (".yaml", ".yml"):
        try:
            value = YAML(typ="safe", pure=True).load(read_text(path, option))
        except (YAMLError, RecursionError) as error:
            raise ConfigError(f"{option} {path}: not YAML: {error}") from error
    else:
        value = [line.strip() for line in read_text(path, option).rstrip().splitlines()]
    return parse_names(value, f"{option} {path}")
