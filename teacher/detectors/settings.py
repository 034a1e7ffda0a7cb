"""Settings of a detector teacher, whatever form its model has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field

from schemas.errors import ConfigError
from teacher.huggingface.settings import HuggingFaceSettings
from teacher.registry import TeacherSettings

_RUNNING = tuple(
    name for name in HuggingFaceSettings.model_fields if name not in TeacherSettings.model_fields
)


class DetectorSettings(HuggingFaceSettings):
    """A closed-vocabulary detector as teacher: a phrase gets the boxes of the class its head noun names."""

    kind: Literal["detector"] = Field(
        "detector",
        description="a detector with a fixed list of classes: an ONNX file of the YOLOX family, or a directory of a "
        "model class for object detection (RT-DETR, D-FINE, DETR, YOLOS, ...)",
    )
    model: str = Field(
        description="path of the .onnx file or of the model directory; a directory may also be named by its hub "
        "id with the commit: owner/name@commit"
    )
    classes: tuple[str, ...] | None = Field(
        None,
        description="class names in the order of the model's outputs; none: for a directory those of its config.json, "
        "for an ONNX file the 80 of COCO",
    )
    nms_iou: float = Field(
        0.65,
        gt=0,
        le=1,
        description="suppression within a class above this IoU; for an ONNX file alone, since the models of "
        "directories are trained to give one box per object",
    )

    @classmethod
    def _iterate_legacy(cls) -> Iterator[tuple[str, object]]:
        """Yield the settings of directories: they were added later, so a job without them keeps its digest."""
        for name in _RUNNING:
            yield name, HuggingFaceSettings.model_fields[name].default


def check_unused(settings: DetectorSettings, allowed: Mapping[str, tuple[object, ...]], form: str) -> None:
    """Raise ConfigError for a setting that has no effect on a model of some form.

    allowed: the values that such a setting may have, by name
    """
    for name, values in allowed.items():
        value = getattr(settings, name)
        if value not in values:
            raise ConfigError(
                f"teacher.{name} is {value!r}, which has no effect on {form} ({settings.model}); leave it out"
            )


ONLY_DIRECTORIES: Mapping[str, tuple[object, ...]] = {
    name: (HuggingFaceSettings.model_fields[name].default, *(("cpu",) if name == "device" else ()))
    for name in _RUNNING
    if name != "reduce_jpegs"
}
ONLY_ONNX: Mapping[str, tuple[object, ...]] = {"nms_iou": (DetectorSettings.model_fields["nms_iou"].default,)}
