"""A detector of transformers as a `ClosedSetDetector`.

Boxes are read from logits: every class of every query with enough score, so one query may give boxes of several
classes. `post_process_object_detection` gives one class per query for some model types and cuts to a number of boxes.
"""

# B images, Q queries, C classes, L logits, N boxes
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from schemas.boxes import as_boxes, clip
from schemas.errors import ConfigError, RuntimeEnvironmentError, SampleRejectedError
from teacher.detectors.closed_set import Detections, DetectorImage, Floats, ImageRgb, check_finite
from teacher.detectors.directory.config import HEADS, Head, check_count, find_head
from teacher.detectors.directory.images import read_detector_rules
from teacher.huggingface.images import Size
from teacher.huggingface.labeler import center_to_corners, select_candidates, to_numpy
from teacher.huggingface.loading import load_with_missing, silence_transformers
from teacher.huggingface.model_files import find_model_type
from teacher.huggingface.running import choose_device, place_model, release_memory, run_model
from teacher.huggingface.settings import HuggingFaceSettings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


_USUAL_SIZE = (480, 640)


class _Outputs(Protocol):
    logits: torch.Tensor
    pred_boxes: torch.Tensor


class DirectoryDetector:
    """A model directory for `AutoModelForObjectDetection`."""

    score_kind = "detector.class_score"

    def __init__(self, settings: HuggingFaceSettings, class_names: tuple[str | None, ...]) -> None:
        """Load the model onto its device.

        class_names: one for each class of the model. None: never found
        raises:      ConfigError for a model that cannot be loaded or run, or with another number of classes
        """
        self.class_names = class_names
        self._folder, self._settings = Path(settings.model), settings
        pads = HEADS.get(find_model_type(self._folder) or "", Head()).uses_mask
        self._rules = read_detector_rules(self._folder, pads)
        self._device = choose_device(settings.device)
        model = _load_model(self._folder)
        check_count(self._folder, len(class_names), int(getattr(model.config, "num_labels", 0)))
        if settings.precision != "fp32":
            from teacher.huggingface.box_heads import keep_boxes_in_float32

            keep_boxes_in_float32(model)
        self._model = place_model(model, settings, self._device)
        self._try_model()

    def prepare_image(self, image_rgb_u8: ImageRgb, stored_size: Size | None = None) -> DetectorImage:
        """Resize an image."""
        height, width = stored_size or (image_rgb_u8.shape[0], image_rgb_u8.shape[1])
        resized = self._rules.resize(image_rgb_u8, (height, width))
        bucket = self._rules.compute_padded_size(
            (resized.shape[0], resized.shape[1]), self._settings.pad_multiple
        )
        filled = resized.shape[0] * resized.shape[1] / (bucket[0] * bucket[1])
        return DetectorImage(resized, width, height, bucket, filled)

    def find_needed_size(self, stored_size: Size) -> Size:
        """Return the size that an image is resized to."""
        return self._rules.target_size(stored_size)

    def detect_batch(self, batch: Sequence[DetectorImage | None], min_score: float) -> list[Detections]:
        """Return the boxes of each image. The model does not run if all rows are blank."""
        bucket = next((image.bucket for image in batch if image is not None), None)
        if bucket is None:
            return [_no_detections() for _ in batch]
        size = (bucket[0], bucket[1])
        with run_model(self._device, self._settings.precision):
            pixels, mask = self._rules.normalize(
                [None if image is None else image.pixels for image in batch], size
            )
            inputs = {"pixel_values": self._to_tensor(pixels)}
            if self._rules.pads:
                inputs["pixel_mask"] = self._to_tensor(mask)
            scores, boxes = self._read_outputs(self._model(**inputs))
        return [
            _no_detections() if image is None else self._read(image, scores_QC, boxes_Q4, min_score)
            for image, scores_QC, boxes_Q4 in zip(batch, scores, boxes, strict=True)
        ]

    def close(self) -> None:
        """Release the accelerator's memory."""
        release_memory(self._model, self._device)

    def _try_model(self) -> None:
        """Run the model on a blank image. Raises ConfigError if it cannot be run on images of its settings' size."""
        blank = self.prepare_image(np.zeros((*_USUAL_SIZE, 3), dtype=np.uint8))
        try:
            self.detect_batch([blank], min_score=1.0)
        except SampleRejectedError:  # of the blank image
            pass
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ConfigError(
                f"{self._folder} cannot be run on images of {blank.bucket[0]} x {blank.bucket[1]} pixels (height x "
                f"width), to which its image settings lead ({type(error).__name__}: {error}); correct `size` there"
            ) from error

    def _to_tensor(self, array: np.ndarray) -> torch.Tensor:
        import torch

        tensor = torch.from_numpy(array).to(self._device)
        if self._settings.channels_last and tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        return tensor

    def _read_outputs(self, outputs: _Outputs) -> tuple[Floats, Floats]:
        """Return scores [B, Q, C] and boxes [B, Q, 4], xyxy as fractions of the model's image."""
        if getattr(outputs, "logits", None) is None or getattr(outputs, "pred_boxes", None) is None:
            raise RuntimeEnvironmentError(
                f"{self._folder}: its model class gives no logits and pred_boxes; use a model with classes"
            )
        logits_BQL = outputs.logits.float()
        head = find_head(self._folder, logits_BQL.shape[-1], len(self.class_names))
        scores_BQC = logits_BQL.softmax(-1)[..., :-1] if head.has_no_object else logits_BQL.sigmoid()
        return to_numpy(scores_BQC), center_to_corners(to_numpy(outputs.pred_boxes))

    def _read(
        self, image: DetectorImage, scores_QC: Floats, boxes_Q4: Floats, min_score: float
    ) -> Detections:
        """Return the boxes of one image. Boxes that lie wholly in padding are left out."""
        found = select_candidates(scores_QC, boxes_Q4, min_score)
        check_finite(found.scores_N, found.boxes_N4)
        width, height = find_extent(image, self._rules.canvas)
        scaled_N4 = as_boxes(found.boxes_N4.astype(np.float64)) * np.array([width, height, width, height])
        boxes_N4 = clip(scaled_N4, image.width, image.height)
        inside = np.flatnonzero((boxes_N4[:, 2] > boxes_N4[:, 0]) & (boxes_N4[:, 3] > boxes_N4[:, 1]))
        best_first = inside[np.argsort(-found.scores_N[inside], kind="stable")]
        return Detections(boxes_N4[best_first], found.scores_N[best_first], found.phrases_N[best_first])


def find_extent(image: DetectorImage, canvas: Size | None) -> tuple[float, float]:
    """Return width and height, in pixels of the stored image, of what the model's boxes are fractions of.

    That is the image, or the canvas to which the model's own settings pad it: the image processor makes the labels of a
    training so, too.
    """
    if canvas is None:
        return image.width, image.height
    height, width = image.pixels.shape[:2]
    return canvas[1] * image.width / width, canvas[0] * image.height / height


def _load_model(folder: Path) -> torch.nn.Module:
    """Load a model in float32. Raises ConfigError for one that cannot be loaded whole."""
    from transformers import AutoModelForObjectDetection

    try:
        with silence_transformers():
            model, missing = load_with_missing(
                cast("type[PreTrainedModel]", AutoModelForObjectDetection), folder
            )
    except ImportError as error:
        raise ConfigError(
            f"{folder} cannot be loaded as an object detector ({str(error).strip()}); if a package is missing (timm "
            "for some backbones), install it or take a revision of the model without it"
        ) from error
    if missing:
        raise ConfigError(
            f"{folder}: {len(missing)} weights of its model class are not in its files ({missing[0]}, ...), so its "
            "answers would be random; copy all files, or take a model that was trained to detect objects"
        )
    return model


def _no_detections() -> Detections:
    return Detections(np.empty((0, 4)), np.empty(0), np.empty(0, dtype=np.int64))
