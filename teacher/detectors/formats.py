"""The forms that a detector's model may have. To add one, write a `DetectorFormat` and list it in `FORMATS`.

A format reads names and digests without loading the model. Only `load` imports what runs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from schemas.digests import digest_of, file_sha256
from schemas.errors import ConfigError, NotFoundError
from teacher.detectors.class_metadata import find_first_difference, read_metadata_names
from teacher.detectors.class_names import MISLEADING, SYNONYMS, ClassNames
from teacher.detectors.closed_set import ClosedSetDetector
from teacher.detectors.coco_classes import COCO_CLASSES
from teacher.detectors.directory.config import (
    choose_class_names,
    count_classes,
    is_detector_directory,
    read_class_names,
)
from teacher.detectors.settings import ONLY_DIRECTORIES, ONLY_ONNX, DetectorSettings, check_unused
from teacher.huggingface.model_files import CONFIG, list_model_files
from teacher.models.directory_facts import describe_directory
from teacher.phrases.tagging import lexicon

METHOD_VERSION = 1
"""Raise it, and LONG_PHRASES_VERSION too, if a change of code changes regions. One of the two is in a job's digest."""
LONG_PHRASES_VERSION = 2
"""The version for jobs with phrases that continue after their head noun. 1 took their last word, 2 takes their head."""
DIRECTORY_VERSION = 1
"""The same for directories, which always had the head."""


@dataclass(frozen=True)
class OwnNames:
    """Names of a model's classes, in the order of its outputs (None: no class), and where in the model they are."""

    names: tuple[str | None, ...]
    source: str


class DetectorFormat(Protocol):
    """One form of a detector's model."""

    may_be_coco: bool
    """Whether COCO's names may be assumed for 80 classes without names."""

    def recognizes(self, path: Path) -> bool:
        """Return whether a file or directory has this form. Must not load it, nor raise."""
        ...

    def digest(self, settings: DetectorSettings, has_long_phrases: bool) -> str:
        """Return a digest of everything that decides answers, not of the model's path.

        has_long_phrases: whether the job asks for expressions or given spans
        raises: NotFoundError without the files, ConfigError for settings without effect on this form
        """
        ...

    def load(self, settings: DetectorSettings) -> ClosedSetDetector:
        """Load the model. `settings.classes` names its classes, or the model does. Raises ConfigError."""
        ...

    def count_classes(self, path: Path) -> int | None:
        """Return how many classes the model has, None if its files do not say. Raises NotFoundError, ConfigError."""
        ...

    def read_names(self, path: Path) -> OwnNames | None:
        """Return the names that the model itself has, None without any. Raises ConfigError for broken ones."""
        ...

    def index_names(self, names: tuple[str | None, ...]) -> ClassNames:
        """Return the words that name each class."""
        ...

    def describe(self, path: Path) -> dict[str, JsonValue]:
        """Return what `model info` prints."""
        ...


class OnnxFormat:
    """An ONNX file of the YOLOX family."""

    may_be_coco = True

    def recognizes(self, path: Path) -> bool:
        return path.suffix == ".onnx"

    def digest(self, settings: DetectorSettings, has_long_phrases: bool) -> str:
        """Return the digest. The long phrases' class was once that of their last word."""
        _check_file(settings)
        return digest_of(
            {
                "kind": settings.kind,
                "method": LONG_PHRASES_VERSION if has_long_phrases else METHOD_VERSION,
                "weights": file_sha256(Path(settings.model)),
                "classes": list(settings.classes or COCO_CLASSES),
                "synonyms": SYNONYMS,
                "misleading": sorted(MISLEADING),
                "lexicon": lexicon.lexicon_digest(),  # singular forms of the phrases' last words
                "nms_iou": settings.nms_iou,
                **({"reduce_jpegs": True} if settings.reduce_jpegs else {}),
            }
        )

    def load(self, settings: DetectorSettings) -> ClosedSetDetector:
        """Load the model. Raises ConfigError without `classes` for one whose metadata names others than COCO's."""
        from teacher.detectors.yolox import Yolox

        _check_file(settings)
        if not settings.classes:
            self._check_coco_names(settings.model)
        return Yolox(settings.model, settings.classes or COCO_CLASSES, settings.nms_iou)

    def count_classes(self, path: Path) -> int | None:
        from teacher.detectors.yolox import read_model_facts

        return read_model_facts(path).classes

    def read_names(self, path: Path) -> OwnNames | None:
        from teacher.detectors.yolox import read_model_facts

        found = read_metadata_names(read_model_facts(path).metadata, path)
        return None if found is None else OwnNames(*found)

    def _check_coco_names(self, model: str) -> None:
        """Raise ConfigError if the model's metadata names other classes than COCO's."""
        remedy = "set teacher.classes to the names of the model's classes"
        try:
            found = self.read_names(Path(model))
        except ConfigError as error:
            raise ConfigError(f"{error}; {remedy}") from error
        names = COCO_CLASSES if found is None else tuple(name or "" for name in found.names)
        other = find_first_difference(names, COCO_CLASSES)
        if found is None or other is None:
            return
        own, coco = (repr(some[other]) if other < len(some) else "missing" for some in (names, COCO_CLASSES))
        raise ConfigError(
            f"detector {model}: class {other} is {own} by {found.source} and {coco} among COCO's "
            f"{len(COCO_CLASSES)}, the default of teacher.classes; {remedy}"
        )

    def index_names(self, names: tuple[str | None, ...]) -> ClassNames:
        return ClassNames(names)

    def describe(self, path: Path) -> dict[str, JsonValue]:
        from teacher.detectors.onnx_session import open_onnx

        session = open_onnx(path)
        return {
            "path": str(path),
            "kind": "detector (ONNX)",
            "inputs": {item.name: item.shape for item in session.get_inputs()},
            "outputs": {item.name: item.shape for item in session.get_outputs()},
            "weights_digest": "sha256:" + file_sha256(path),
        }


class DirectoryFormat:
    """A directory of transformers with a model class for object detection."""

    may_be_coco = False

    def recognizes(self, path: Path) -> bool:
        return is_detector_directory(path)

    def digest(self, settings: DetectorSettings, has_long_phrases: bool) -> str:
        check_unused(settings, ONLY_ONNX, "a model directory")
        folder = Path(settings.model)
        return digest_of(
            {
                "kind": settings.kind,
                "directory": DIRECTORY_VERSION,
                "files": list_model_files(folder),
                "classes": list(choose_class_names(folder, settings.classes)),
                "synonyms": SYNONYMS,
                "misleading": sorted(MISLEADING),
                "lexicon": lexicon.lexicon_digest(),
                "precision": settings.precision,
                "channels_last": settings.channels_last,
                "compile": settings.compile,
                "pad_multiple": settings.pad_multiple,
                "reduce_jpegs": settings.reduce_jpegs,
                # boxes were once rounded in a lower precision
                **({"box_heads": "fp32"} if settings.precision != "fp32" else {}),
            }
        )

    def load(self, settings: DetectorSettings) -> ClosedSetDetector:
        from teacher.detectors.directory.detector import DirectoryDetector

        check_unused(settings, ONLY_ONNX, "a model directory")
        return DirectoryDetector(settings, choose_class_names(Path(settings.model), settings.classes))

    def count_classes(self, path: Path) -> int | None:
        return count_classes(path)

    def read_names(self, path: Path) -> OwnNames | None:
        names = read_class_names(path)
        return None if names is None else OwnNames(names, f"id2label of {path / CONFIG}")

    def index_names(self, names: tuple[str | None, ...]) -> ClassNames:
        return ClassNames(names, reads_forms=True)

    def describe(self, path: Path) -> dict[str, JsonValue]:
        return describe_directory(path)


FORMATS: tuple[DetectorFormat, ...] = (OnnxFormat(), DirectoryFormat())


def find_format(model: str) -> DetectorFormat:
    """Return the form of a model. Any file is taken for ONNX.

    raises: NotFoundError for a path that does not exist, ConfigError for a directory of no form
    """
    path = Path(model)
    found = next((form for form in FORMATS if form.recognizes(path)), None)
    if found is not None:
        return found
    if path.is_dir():
        raise ConfigError(
            f"detector {path}: not a directory of an object detector with classes; expected a config.json with "
            "architectures [...ForObjectDetection] and a model_type such as rt_detr, d_fine, detr or yolos"
        )
    if not path.exists():
        raise NotFoundError(
            f"detector {path}: no such file or directory; teacher.model is the path of an .onnx file or of a model "
            "directory"
        )
    return FORMATS[0]


def _check_file(settings: DetectorSettings) -> None:
    """Raise NotFoundError without the file, ConfigError for settings of directories."""
    if not Path(settings.model).is_file():
        raise NotFoundError(
            f"detector {settings.model}: no such file; teacher.model is the path of an .onnx file"
        )
    check_unused(settings, ONLY_DIRECTORIES, "an ONNX file, which runs in float32 on the CPU")
