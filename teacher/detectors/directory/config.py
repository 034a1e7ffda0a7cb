"""What the config.json of a directory says: whether it is a detector, how its head is read, what its classes are.

Nothing here imports torch or transformers, because a job is checked by it before a model is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from schemas.errors import ConfigError, RuntimeEnvironmentError
from teacher.huggingface.model_files import CONFIG, find_model_type, read_object

_ARCHITECTURE = "ForObjectDetection"
OPEN_VOCABULARY = frozenset({"grounding-dino", "mm-grounding-dino", "omdet-turbo", "owlv2", "owlvit"})
"""Model types with such a class that are asked by texts. Other teachers take them."""
TEXT_DETECTORS = frozenset(
    f"pp_ocrv{version}_det" for version in ("5_mobile", "5_server", "6_medium", "6_small")
)
"""Model types with such a class that find lines of text and have no classes."""
_UNNAMED = re.compile(r"LABEL_\d+")
NO_NAME = "N/A"
"""A name for an output without a class."""
_NO_CLASS = frozenset({"", NO_NAME.lower(), "background", "__background__", "no object", "no-object"})
_REMEDY = "set teacher.classes to the names of the model's classes, in the order of its outputs"


@dataclass(frozen=True)
class Head:
    """How the outputs of a model type are read."""

    has_no_object: bool = False
    """Whether the last logit stands for "no object": softmax over one more logit than classes. Else one sigmoid per
    class."""
    uses_mask: bool = False
    """Whether boxes are fractions of the part that the pixel mask marks, so that images can be padded to share batches.
    Other models see padding as image."""


_SOFTMAX, _SIGMOID = Head(has_no_object=True), Head()
HEADS: Mapping[str, Head] = MappingProxyType(
    {
        "conditional_detr": Head(uses_mask=True),
        "d_fine": _SIGMOID,
        "dab-detr": Head(uses_mask=True),
        "deformable_detr": Head(uses_mask=True),
        "deimv2": _SIGMOID,
        "detr": Head(has_no_object=True, uses_mask=True),
        "lw_detr": _SIGMOID,
        "pp_doclayout_v2": _SIGMOID,
        "pp_doclayout_v3": _SIGMOID,
        "pp_doclayout_v4": _SIGMOID,
        "rf_detr": _SIGMOID,
        "rt_detr": _SIGMOID,
        "rt_detr_v2": _SIGMOID,
        "table-transformer": Head(has_no_object=True, uses_mask=True),
        "yolos": _SOFTMAX,
    }
)
"""Of the model types of transformers 5.23. A type that is not here is read by the width of its logits."""


def is_detector_directory(path: Path) -> bool:
    """Return whether a path is a directory that `AutoModelForObjectDetection` loads and that has classes."""
    model_type = find_model_type(path)
    if model_type is None or model_type in OPEN_VOCABULARY | TEXT_DETECTORS:
        return False
    architectures = read_object(path / CONFIG).get("architectures")
    if not isinstance(architectures, list) or not architectures:
        return model_type in HEADS
    return any(str(name).endswith(_ARCHITECTURE) for name in architectures)


def find_head(folder: Path, logits: int, classes: int) -> Head:
    """Return how a model's outputs are read.

    logits:  width of the model's logits
    classes: number of the model's classes
    raises:  RuntimeEnvironmentError if the two do not fit each other, because no sample can be labeled then
    """
    model_type = find_model_type(folder) or ""
    head = HEADS.get(model_type, Head(has_no_object=logits == classes + 1))
    if logits != classes + head.has_no_object:
        extra = " and one for no object" if head.has_no_object else ""
        raise RuntimeEnvironmentError(
            f"{folder}: {logits} logits for {classes} classes; expected one for each class{extra} ({model_type}); "
            "correct id2label in its config.json"
        )
    return head


def read_class_names(folder: Path) -> tuple[str | None, ...] | None:
    """Return the names in a directory's config.json, None for outputs without a class.

    return: None if config.json has only the default names LABEL_0, LABEL_1, ...
    raises: ConfigError for names that are not numbered from 0 on
    """
    found = read_object(folder / CONFIG).get("id2label")
    if not isinstance(found, dict) or not found:
        return None
    by_number = {str(key): str(name) for key, name in found.items()}
    missing = next((number for number in range(len(by_number)) if str(number) not in by_number), None)
    if missing is not None:
        raise ConfigError(
            f"{folder / CONFIG}: id2label has {len(by_number)} entries, but none for class {missing}; {_REMEDY}"
        )
    names = [by_number[str(number)] for number in range(len(by_number))]
    if all(_UNNAMED.fullmatch(name) or _is_no_class(name) for name in names):
        return None
    return mark_unused(names)


def count_classes(folder: Path) -> int | None:
    """Return how many classes config.json has, None if it does not say."""
    found = read_object(folder / CONFIG).get("id2label")
    return len(found) if isinstance(found, dict) and found else None


def choose_class_names(folder: Path, given: Sequence[str] | None) -> tuple[str | None, ...]:
    """Return the given names, else those of config.json.

    raises: ConfigError if neither names the classes, or for another number of names than classes
    """
    if given is not None:
        check_count(folder, len(given), count_classes(folder))
        return mark_unused(given)
    own = read_class_names(folder)
    if own is None:
        raise ConfigError(f"{folder / CONFIG}: id2label does not name the model's classes; {_REMEDY}")
    return own


def check_count(folder: Path, names: int, classes: int | None) -> None:
    """Raise ConfigError for another number of names than classes. classes: None if it is not known."""
    if classes is not None and names != classes:
        raise ConfigError(
            f"detector {folder}: {names} names for {classes} classes; give one name for each class, in the order of "
            "its outputs (teacher.classes, or --names of `evaluate`)"
        )


def mark_unused(names: Sequence[str]) -> tuple[str | None, ...]:
    """Return the names with None for placeholders, such as `N/A` in label maps of COCO's 91 numbers."""
    return tuple(None if _is_no_class(name) else name for name in names)


def _is_no_class(name: str) -> bool:
    return name.strip().casefold() in _NO_CLASS
