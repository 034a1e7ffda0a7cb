"""YOLOX exported to ONNX: one image in, boxes of known classes out, in pixels of that image.

Each run uses one thread and one image, so the result depends on the image alone. Source of the format: YOLOX's ONNX
demo (Megvii, arXiv 2107.08430): letterbox to the top left on gray 114, BGR 0-255, boxes not yet decoded.
"""

# A anchors of all strides, N boxes kept, C classes
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from schemas.boxes import clip, nms
from schemas.errors import ConfigError, NotFoundError
from teacher.detectors.closed_set import Detections, DetectorImage, Size, check_finite
from teacher.detectors.onnx_session import open_onnx

STRIDES = (8, 16, 32)
PAD_VALUE = 114
_NOTHING = Detections(np.empty((0, 4)), np.empty(0), np.empty(0, dtype=np.int64))


@dataclass(frozen=True)
class Letterboxed:
    """An image as the network's input, [1, 3, side, side] float32 BGR, and the scale to map boxes back."""

    pixels: np.ndarray
    ratio: float
    width: int
    height: int


@dataclass(frozen=True)
class ModelFacts:
    """Facts of an ONNX file. `classes` is None for a model without YOLOX's shapes."""

    metadata: Mapping[str, str]
    classes: int | None


def read_model_facts(path: str | Path) -> ModelFacts:
    """Return a model's metadata and number of classes. Raises NotFoundError, ConfigError if it is not ONNX."""
    if not Path(path).is_file():
        raise NotFoundError(
            f"detector {path}: no such file; expected the path of an .onnx file, in a job teacher.model"
        )
    session = open_onnx(path)
    out = session.get_outputs()[0].shape
    anchors = _count_anchors(session.get_inputs()[0].shape)
    fits = anchors is not None and len(out) == 3 and list(out[:2]) == [1, anchors]
    classes = out[2] - 5 if fits and isinstance(out[2], int) and out[2] > 5 else None
    return ModelFacts(dict(session.get_modelmeta().custom_metadata_map), classes)


class Yolox:
    """A YOLOX detector with `class_names`, run by onnxruntime on one CPU thread. A `ClosedSetDetector`."""

    score_kind = "detector.class_score*objectness"

    def __init__(self, path: str | Path, class_names: tuple[str, ...], nms_iou: float = 0.65) -> None:
        """Open the model. Raises NotFoundError for a missing file, ConfigError for a model without YOLOX's shapes."""
        if not Path(path).is_file():
            raise NotFoundError(
                f"detector {path}: no such file; expected the path of an .onnx file, in a job teacher.model"
            )
        self._session = open_onnx(path)
        self.class_names: tuple[str | None, ...] = class_names
        self.nms_iou = nms_iou
        self._input = self._session.get_inputs()[0].name
        self.side = self._check_shapes(path)
        self._grid_A2, self._stride_A1 = _make_anchor_grid(self.side)

    def prepare_image(self, image_rgb_u8: np.ndarray, stored_size: Size | None = None) -> DetectorImage:
        """Return the letterboxed image."""
        image = self.letterbox(image_rgb_u8, stored_size)
        height, width = self.find_needed_size((image.height, image.width))
        return DetectorImage(
            image.pixels,
            image.width,
            image.height,
            bucket=(self.side, self.side),
            filled=height * width / self.side**2,
        )

    def detect_batch(self, batch: Sequence[DetectorImage | None], min_score: float) -> list[Detections]:
        """Return the boxes of each image. Images are run one by one. A blank row has no boxes and does not run."""
        return [_NOTHING if image is None else self.detect(self._unpack(image), min_score) for image in batch]

    def close(self) -> None:
        """Do nothing, since the session has no memory of an accelerator."""

    def find_needed_size(self, stored_size: Size) -> Size:
        """Return the size of an image in the square."""
        ratio = self._find_ratio(stored_size[1], stored_size[0])
        return max(int(stored_size[0] * ratio), 1), max(int(stored_size[1] * ratio), 1)

    def letterbox(self, image_rgb_u8: np.ndarray, stored_size: Size | None = None) -> Letterboxed:
        """Scale an image, [height, width, 3] uint8 RGB, to fit the top left of a gray square.

        stored_size: (height, width) of the whole image, if this one was decoded at a reduced scale
        """
        height, width = stored_size or (image_rgb_u8.shape[0], image_rgb_u8.shape[1])
        ratio = self._find_ratio(width, height)
        size = self.find_needed_size((height, width))[::-1]
        scaled = Image.fromarray(image_rgb_u8).resize(size, Image.Resampling.BILINEAR)
        canvas = np.full((self.side, self.side, 3), PAD_VALUE, dtype=np.float32)
        canvas[: size[1], : size[0]] = np.asarray(scaled)
        bgr = canvas[:, :, ::-1].transpose(2, 0, 1)[None]
        return Letterboxed(np.ascontiguousarray(bgr), ratio, width, height)

    def detect(self, image: Letterboxed, min_score: float) -> Detections:
        """Return boxes with score >= min_score after suppression within each class, clipped to the image.

        An anchor may have boxes of several classes, each with its own score.

        raises: SampleRejectedError for scores or boxes that are not finite, which would look like no box at all
        """
        raw_AX = self._session.run(None, {self._input: image.pixels})[0][0].astype(np.float64)
        scores_AC = raw_AX[:, 5:] * raw_AX[:, 4:5]
        anchors_N, classes_N = np.nonzero(~(scores_AC < min_score))
        scores_N = scores_AC[anchors_N, classes_N]
        decoded_N4 = self._decode(raw_AX, anchors_N) / image.ratio
        check_finite(scores_N, decoded_N4)
        boxes_N4 = clip(decoded_N4, image.width, image.height)
        indices = _suppress_per_class(boxes_N4, scores_N, classes_N, self.nms_iou)
        anchors, classes = anchors_N[indices], classes_N[indices]
        return Detections(
            boxes_N4=boxes_N4[indices],
            scores_N=scores_N[indices],
            classes_N=classes,
            class_scores_N=raw_AX[anchors, 5 + classes],
            objectness_N=raw_AX[anchors, 4],
        )

    def _unpack(self, image: DetectorImage) -> Letterboxed:
        ratio = self._find_ratio(image.width, image.height)
        return Letterboxed(image.pixels, ratio, image.width, image.height)

    def _find_ratio(self, width: int, height: int) -> float:
        return min(self.side / width, self.side / height)

    def _decode(self, raw_AX: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        stride_N1 = self._stride_A1[chosen]
        center_N2 = (raw_AX[chosen, :2] + self._grid_A2[chosen]) * stride_N1
        half_N2 = np.exp(raw_AX[chosen, 2:4]) * stride_N1 / 2
        return np.concatenate([center_N2 - half_N2, center_N2 + half_N2], axis=1)

    def _check_shapes(self, path: str | Path) -> int:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape, out = inputs[0].shape, outputs[0].shape
        anchors = _count_anchors(shape)
        expected = [1, anchors, 5 + len(self.class_names)]
        if anchors is None or list(out) != expected:
            raise ConfigError(
                f"detector {path}: input {shape} and output {out}; a YOLOX of {len(self.class_names)} classes has "
                f"a square input [1, 3, side, side] and the output {expected}; check teacher.classes"
            )
        return int(shape[2])


def _count_anchors(shape: Sequence[int | str | None]) -> int | None:
    """Return how many anchors an input of that shape has, None for one that is not [1, 3, side, side]."""
    if len(shape) != 4 or shape[1] != 3 or not isinstance(shape[2], int) or shape[2] != shape[3]:
        return None
    side = shape[2]
    return sum((side // stride) ** 2 for stride in STRIDES)


def _make_anchor_grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return [A, 2] cell (x, y) and [A, 1] stride of each anchor: strides in order, then rows, then columns."""
    cells, strides = [], []
    for stride in STRIDES:
        count = side // stride
        y, x = np.mgrid[:count, :count]
        cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full((count * count, 1), stride))
    return np.concatenate(cells).astype(np.float64), np.concatenate(strides).astype(np.float64)


def _suppress_per_class(
    boxes_N4: np.ndarray, scores_N: np.ndarray, classes_N: np.ndarray, iou_above: float
) -> np.ndarray:
    """Return the indices of boxes that stay, best score first. Of equal scores, the lower index is first."""
    kept: list[int] = []
    for label in np.unique(classes_N):
        members = np.flatnonzero(classes_N == label)
        kept.extend(members[nms(boxes_N4[members], scores_N[members], iou_above)])
    return np.array(sorted(kept, key=lambda n: (-scores_N[n], n)), dtype=int)
