"""Settings of a detector teacher, and its digest over everything that decides its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from schemas.digests import digest_of, file_sha256
from schemas.errors import NotFoundError
from teacher.detectors.class_names import MISLEADING, SYNONYMS
from teacher.detectors.coco_classes import COCO_CLASSES
from teacher.phrases.tagging import lexicon
from teacher.registry import TeacherSettings

METHOD_VERSION = 1
"""Raise it, and LONG_PHRASES_VERSION too, if a change of code changes regions. One of the two is in a job's digest."""
LONG_PHRASES_VERSION = 2
"""The version for jobs with phrases that continue after their head noun. 1 took their last word, 2 takes their head."""


class DetectorSettings(TeacherSettings):
    """A closed-vocabulary detector as teacher: a phrase gets the boxes of the class its head noun names."""

    kind: Literal["detector"] = Field("detector", description="an ONNX detector of the YOLOX family")
    model: str = Field(description="path of the .onnx file")
    classes: tuple[str, ...] | None = Field(
        None, description="class names in the order of the model's outputs; none: the 80 of COCO"
    )
    nms_iou: float = Field(0.65, gt=0, le=1, description="suppression within a class above this IoU")


def detector_digest(settings: DetectorSettings, has_long_phrases: bool = False) -> str:
    """Return a digest of weights, classes, synonyms, singular forms and suppression, not of the file's path.

    has_long_phrases: whether the job asks for expressions or given spans. Their class was once that of the last word.
    raises: NotFoundError without the file
    """
    if not Path(settings.model).is_file():
        raise NotFoundError(
            f"detector {settings.model}: no such file; teacher.model is the path of an .onnx file"
        )
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
        }
    )
