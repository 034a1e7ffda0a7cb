"""Pictures for the training's log: an image of the batch, its targets and what the model says there."""

# B images, T tokens, G boxes of an image
from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from student.batches.build import Batch
from teacher.models.glip import GlipProcessor
from teacher.models.glip.outputs import GlipGroundingOutput

# Told apart by dashes of the line's width too, not by colour alone.
_TARGET, _PREDICTED = ((0, 158, 115), 3), ((213, 94, 0), 1)
_SHOWN_SCORE, _MOST_BOXES = 0.3, 20


@torch.no_grad()
def pictures(
    batch: Batch, outputs: GlipGroundingOutput, processor: GlipProcessor, images: int = 2
) -> list[np.ndarray]:
    """The first images of a batch, uint8 [H, W, 3]: targets with wide lines, predictions with thin ones, the prompt.

    The outputs are those of the training step, random layers included, so a picture costs no pass of its own.
    """
    sizes = processor.image_sizes(batch.pixel_mask)
    shown = range(min(images, len(batch.names)))
    phrases = [_span_tokens(batch, index, processor) for index in range(len(batch.names))]
    found = processor.post_process_grounded_object_detection(
        outputs, phrases, sizes, threshold=_SHOWN_SCORE, max_detections=_MOST_BOXES
    )
    return [
        _drawn(
            _pixels(batch.pixel_values[index], sizes[index], processor),
            batch.labels[index]["boxes"],
            found[index],
            batch.prompts[index].text,
        )
        for index in shown
    ]


def _span_tokens(batch: Batch, index: int, processor: GlipProcessor) -> list[list[int]]:
    """Tokens of each span of the prompt that lies inside the batch's width."""
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


def _pixels(values_3HW: Tensor, size: tuple[int, int], processor: GlipProcessor) -> Image.Image:
    """The network's input as a picture, without its padding."""
    values = values_3HW[:, : size[0], : size[1]].permute(1, 2, 0).cpu().numpy()
    values = values * np.float32(processor.pixel_std) + np.float32(processor.pixel_mean)
    if processor.channel_order == "bgr":
        values = values[..., ::-1]
    return Image.fromarray(np.ascontiguousarray(values.round().clip(0, 255).astype(np.uint8)))


def _drawn(picture: Image.Image, targets_G4: Tensor, found: dict[str, Tensor], text: str) -> np.ndarray:
    canvas = Image.new("RGB", (picture.width, picture.height + 12), "white")
    canvas.paste(picture)
    draw = ImageDraw.Draw(canvas)
    for boxes, (colour, width) in ((targets_G4, _TARGET), (found["boxes"], _PREDICTED)):
        for left, top, right, bottom in boxes.cpu().tolist():
            draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=width)
    draw.text((1, picture.height), text, fill="black")
    return np.asarray(canvas)
