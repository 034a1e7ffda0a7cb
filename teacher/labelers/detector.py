"""The teacher `detector`: a phrase gets the boxes of the class that its head noun names."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from pydantic import JsonValue

from schemas.digests import digest_of
from teacher.detectors.formats import FORMATS, METHOD_VERSION, find_format
from teacher.detectors.settings import DetectorSettings
from teacher.registry import LabelerOptions, QueryKind, Teacher

if TYPE_CHECKING:
    from schemas.labeler import Labeler

GUESSED_HEADS_VERSION = 1
"""The version for jobs with given spans and no parser. It is part of their digest alone."""


class DetectorTeacher(Teacher[DetectorSettings]):
    """A detector with a fixed list of classes, in one of the forms of `teacher.detectors.formats`."""

    description = "a detector (.onnx, or a directory for AutoModelForObjectDetection)"
    settings_class = DetectorSettings
    version = METHOD_VERSION
    takes_decoys = True
    query_kind = QueryKind.CLASSES
    starting_policy = MappingProxyType({"min_score": 0.3})
    scores_from = "a guess for class scores; choose by an audit"

    def make(self, settings: DetectorSettings, options: LabelerOptions) -> Labeler:
        from teacher.huggingface.loading import explain_load_errors
        from teacher.labelers.detector_labeler import DetectorLabeler

        form = find_format(settings.model)
        # refuses files that must not be loaded
        digest = self.job_digest(settings, options.has_long_phrases, options.has_guessed_heads)
        with explain_load_errors(Path(settings.model)):
            detector = form.load(settings)
        names = form.index_names(detector.class_names)
        return DetectorLabeler(detector, names, digest, options, settings.reduce_jpegs)

    def digest(self, settings: DetectorSettings, has_long_phrases: bool = False) -> str:
        return find_format(settings.model).digest(settings, has_long_phrases)

    def job_digest(
        self, settings: DetectorSettings, has_long_phrases: bool = False, has_guessed_heads: bool = False
    ) -> str:
        """Return the digest. Until version 1 of guessed heads, a given span had the class of its last noun."""
        digest = self.digest(settings, has_long_phrases)
        return digest_of([digest, {"guessed_heads": GUESSED_HEADS_VERSION}]) if has_guessed_heads else digest

    def recognizes(self, path: Path) -> bool:
        return any(form.recognizes(path) for form in FORMATS)

    def describe(self, path: Path) -> dict[str, JsonValue]:
        return find_format(str(path)).describe(path)


ENTRY = DetectorTeacher()
