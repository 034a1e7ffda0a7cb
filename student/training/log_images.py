"""Pictures for the training log: images of a batch with targets and predictions."""

# B images, T tokens, G boxes of an image
from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from student.batches.batch_builder import Batch
from teacher.models.glip import GlipProcessor
from teacher.models.glip.outputs import GlipGroundingOutput

# They differ in line width too, not in color alone.
_TARGET, _PREDICTED = ((0, 158, 115), 3), ((213, 94, 0), 1)
_MIN_SCORE, _MAX_BOXES = 0.3, 20


@torch.no_grad()
def draw_pictures(
    batch: Batch, outputs: GlipGroundingOutput, processor: GlipProcessor, images: int = 2
) -> list[NDArray[np.uint8]]:
    """Return the first images of a batch, uint8 [H, W, 3]: targets in wide lines, predictions in thin ones, the prompt.

    The outputs are those of the training step, random layers included, so a picture needs no forward pass of its own.
    """
    sizes = processor.image_sizes(batch.pixel_mask)
    phrases = [_span_tokens(batch, index, processor) for index in range(len(batch.names))]
    predictions = processor.post_process_grounded_object_detection(
        outputs, phrases, sizes, threshold=_MIN_SCORE, max_detections=_MAX_BOXES
    )
    return [
        _draw_boxes(
            _to_picture(batch.pixel_values[index], sizes[index], processor),
            batch.labels[index]["boxes"],
            predictions[index]["boxes"],
            batch.prompts[index].text,
        )
        for index in range(min(images, len(batch.names)))
    ]


def _span_tokens(batch: Batch, index: int, processor: GlipProcessor) -> list[list[int]]:
    """Return the tokens of each span of the prompt that is inside the batch's width."""
    prompt = batch.prompts[index]
    spans = [[(span.begin, span.end)] for span in prompt.spans]
    width = batch.input_ids.shape[1]
    return [
        tokens
        for tokens in processor.phrase_tokens(
            prompt.text, spans, max(width, processor.token_count(prompt.text))
        )
        if max(tokens) < width
    ]


def _to_picture(values_3HW: Tensor, size: tuple[int, int], processor: GlipProcessor) -> Image.Image:
    """Return the network's input as a picture, without its padding."""
    values = values_3HW[:, : size[0], : size[1]].permute(1, 2, 0).cpu().numpy()
    std, mean = (np.asarray(one, np.float32) for one in (processor.pixel_std, processor.pixel_mean))
    values = values * std + mean
    if processor.channel_order == "bgr":
        values = values[..., ::-1]
    return Image.fromarray(np.ascontiguousarray(values.round().clip(0, 255).astype(np.uint8)))


def _draw_boxes(
    picture: Image.Image, targets_G4: Tensor, predictions_G4: Tensor, text: str
) -> NDArray[np.uint8]:
    canvas = Image.new("RGB", (picture.width, picture.height + 12), "white")
    canvas.paste(picture)
    draw = ImageDraw.Draw(canvas)
    for boxes, (color, width) in ((targets_G4, _TARGET), (predictions_G4, _PREDICTED)):
        for left, top, right, bottom in boxes.cpu().tolist():
            draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=color, width=width)
    draw.text((1, picture.height), text, fill="black")
    return np.asarray(canvas)
