"""The teacher `detector`: a phrase gets the boxes of the class that its head noun names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from schemas.digests import file_sha256
from teacher.labelers.detector_settings import METHOD_VERSION, DetectorSettings, detector_digest
from teacher.registry import LabelerOptions, QueryKind, Teacher

if TYPE_CHECKING:
    from schemas.labeler import Labeler


class DetectorTeacher(Teacher[DetectorSettings]):
    """A YOLOX detector exported to ONNX."""

    description = "a detector .onnx"
    settings_class = DetectorSettings
    version = METHOD_VERSION
    takes_decoys = True
    query_kind = QueryKind.CLASSES

    def make(self, settings: DetectorSettings, options: LabelerOptions) -> Labeler:
        from teacher.labelers.detector_labeler import DetectorLabeler

        return DetectorLabeler(settings, options.batch_size, options.min_score, options.has_long_phrases)

    def digest(self, settings: DetectorSettings, has_long_phrases: bool = False) -> str:
        return detector_digest(settings, has_long_phrases)

    def recognizes(self, path: Path) -> bool:
        return path.suffix == ".onnx"

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


ENTRY = DetectorTeacher()
