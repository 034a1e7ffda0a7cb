"""The image processor of a GLIP directory, for `transformers.pipeline("zero-shot-object-detection")`.

The pipeline asks each label alone. It gives the text of a label to the tokenizer, without padding, and the image to
this class. So the tokens of the label are all but the first and the last, which are special.
"""

# N locations, T tokens, D detections
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor
from transformers import BaseImageProcessor, BatchFeature

from teacher.models.glip.detections import DetectionRules, detect, make_half_open
from teacher.models.glip.images.steps import ImageRgb, ImageSteps
from teacher.models.glip.outputs import GlipGroundingOutput, ImageDetections


class GlipImageProcessor(ImageSteps, BaseImageProcessor):
    """Image preprocessing, and boxes of one label. `GlipProcessor` asks several labels together."""

    model_input_names = ["pixel_values", "pixel_mask"]

    def __init__(
        self,
        shorter_side: int = 800,
        longer_side: int = 1333,
        channel_order: Literal["bgr", "rgb"] = "bgr",
        pixel_mean: Sequence[float] = (103.530, 116.280, 123.675),
        pixel_std: Sequence[float] = (57.375, 57.120, 58.395),
        **kwargs: object,
    ) -> None:
        """Set up. pixel_mean, pixel_std: of 0..255 in `channel_order`."""
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self.shorter_side, self.longer_side = shorter_side, longer_side
        self.channel_order = channel_order
        self.pixel_mean, self.pixel_std = tuple(pixel_mean), tuple(pixel_std)
        _list_for_pipelines()

    def preprocess(
        self, images: ImageRgb | Sequence[ImageRgb], return_tensors: Literal["pt"] | None = "pt"
    ) -> BatchFeature:
        """Return `pixel_values` and `pixel_mask` of images, as `GlipProcessor` does."""
        if return_tensors not in ("pt", None):
            raise ValueError(
                f"return_tensors is {return_tensors!r}; only PyTorch's tensors ('pt') can be returned"
            )
        pictures = list(images) if isinstance(images, Sequence) else [images]
        return BatchFeature(self.pixels([self.resize(image) for image in pictures]))

    def post_process_object_detection(
        self,
        outputs: Mapping[str, Any],
        threshold: float = 0.05,
        target_sizes: Sequence[tuple[int, int]] | Tensor | None = None,
        nms_iou: float = 0.6,
    ) -> list[ImageDetections]:
        """Return the boxes of one label in one image, half-open in its pixels, best first.

        outputs:      of `GlipForGrounding` for one image and the text of one label, without padding
        threshold:    exclusive lower bound of the label's score before centerness, as in `GlipProcessor`
        target_sizes: (height, width) of the image
        raises:       ValueError for outputs of several images, a label without a word, or a missing size
        """
        logits, anchors = outputs["token_logits"], outputs["anchors"]
        if len(logits) != 1 or len(anchors) != logits.shape[1]:
            raise ValueError(
                f"outputs of {len(logits)} images with {len(anchors)} anchors for {logits.shape[1]} locations; GLIP "
                "answers one label of one image at a time here, so leave `batch_size` of the pipeline at 1"
            )
        if target_sizes is None or len(target_sizes) != 1:
            raise ValueError("target_sizes must have the (height, width) of the one image")
        tokens = range(1, logits.shape[-1] - 1)
        if not tokens:
            raise ValueError(
                "a label has no word that the tokenizer knows as a token; leave empty labels out"
            )
        height, width = (int(side) for side in target_sizes[0])
        inside = self.target_size((height, width))
        fields = {
            name: value for name, value in outputs.items() if name in GlipGroundingOutput.__annotations__
        }
        found = detect(
            GlipGroundingOutput(**fields), 0, [list(tokens)], inside, DetectionRules(threshold, nms_iou)
        )
        scale = found["boxes"].new_tensor([width / inside[1], height / inside[0]] * 2)
        found["boxes"] = make_half_open(found["boxes"] * scale, (height, width))
        return [found]


def _list_for_pipelines() -> None:
    """Add GLIP to the models that a pipeline expects. It would otherwise log an error, and then work."""
    from transformers.models.auto import modeling_auto

    modeling_auto.MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES.setdefault("glip", "GlipForGrounding")
