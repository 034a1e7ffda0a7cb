"""From images and texts to the model's inputs, from phrases' spans to tokens, from outputs to boxes.

A phrase whose span covers no token, or is cut off by the token limit, raises `EmptyPhraseError`. Spans are half-open
and count code points of the text.
"""

# B images, T tokens, P phrases
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from schemas.errors import EmptyPhraseError
from schemas.spans import PROMPT_SEPARATOR
from teacher.models.glip.detections import DetectionRules, detect, make_half_open
from teacher.models.glip.images.steps import ImageRgb, ImageSteps, Size
from teacher.models.glip.outputs import GlipGroundingOutput, ImageDetections

Span = tuple[int, int]


class GlipProcessor(ImageSteps, ProcessorMixin):
    """Image preprocessing, tokenizer and post-processing of one model directory. The defaults are the authors'."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        shorter_side: int = 800,
        longer_side: int = 1333,
        channel_order: Literal["bgr", "rgb"] = "bgr",
        pixel_mean: Sequence[float] = (103.530, 116.280, 123.675),
        pixel_std: Sequence[float] = (57.375, 57.120, 58.395),
        max_tokens: int = 256,
    ) -> None:
        """Set up. pixel_mean, pixel_std: of 0..255 in `channel_order`; max_tokens: width of a padded prompt."""
        super().__init__(tokenizer)  # type: ignore[no-untyped-call]
        self.shorter_side, self.longer_side = shorter_side, longer_side
        self.channel_order = channel_order
        self.pixel_mean, self.pixel_std = tuple(pixel_mean), tuple(pixel_std)
        self.max_tokens = max_tokens

    def __call__(
        self,
        images: ImageRgb | Sequence[ImageRgb],
        text: str | Sequence[str] | Sequence[Sequence[str]],
        pad: Literal["authors"] | Size = "authors",
        text_width: int | None = None,
        return_tensors: Literal["pt"] | None = "pt",
    ) -> BatchFeature:
        """Return the inputs of `GlipForGrounding` for images and as many texts.

        text:   one caption for each image, or one list of labels for each image, which becomes "cat. red car"
        raises: ValueError without images, for different numbers of images and texts, for an image that is not RGB or
                does not fit into `pad`, for a text with more tokens than the model reads
        """
        if return_tensors not in ("pt", None):
            raise ValueError(
                f"return_tensors is {return_tensors!r}; only PyTorch's tensors ('pt') can be returned"
            )
        pictures = [images] if isinstance(images, Image.Image | np.ndarray) else list(images)
        texts = _join_labels(text)
        if len(pictures) != len(texts) or not pictures:
            raise ValueError(
                f"{len(pictures)} images and {len(texts)} texts; each image needs its own text, or its own list of "
                "labels"
            )
        for one in texts:
            if (count := self.token_count(one)) > (text_width or self.max_tokens):
                raise ValueError(
                    f"a text has {count} tokens, at most {text_width or self.max_tokens} fit: {one[:60]!r}...; split "
                    "it into several texts, each with the image"
                )
        pixels = self.pixels([self.resize(image) for image in pictures], pad)
        return BatchFeature({**pixels, **self.tokens(texts, text_width)})

    @staticmethod
    def image_sizes(pixel_mask: Tensor) -> list[Size]:
        """Return (height, width) of each image inside its padding, for `post_process_grounded_object_detection`."""
        heights, widths = pixel_mask[:, :, 0].sum(dim=1), pixel_mask[:, 0, :].sum(dim=1)
        return list(zip(heights.tolist(), widths.tolist(), strict=True))

    def tokens(self, text: Sequence[str], width: int | None = None) -> dict[str, Tensor]:
        """Return `input_ids` and `attention_mask` [B, T], padded to `width` (default `max_tokens`) and cut off there.

        The width does not depend on the batch's longest text, so neither do a text's scores.
        """
        encoded = self.tokenizer(
            list(text),
            padding="max_length",
            truncation=True,
            max_length=width or self.max_tokens,
            return_tensors="pt",
        )
        return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}

    def token_count(self, text: str) -> int:
        """Return how many tokens a text of any length has, special ones included."""
        return len(self.tokenizer(text, truncation=False, verbose=False)["input_ids"])

    def phrase_tokens(
        self, text: str, phrases: Sequence[Sequence[Span]], width: int | None = None
    ) -> list[list[int]]:
        """Return the positions of the tokens that each phrase covers. A phrase is one or several spans of the text.

        raises: EmptyPhraseError for a phrase without a span, a span without a token, or one that extends beyond the
                last token that fits into `width`
        """
        encoded = self.tokenizer(text, truncation=False, verbose=False, return_offsets_mapping=True)
        offsets = encoded["offset_mapping"]
        # The last position is that of the closing special token.
        last = (width or self.max_tokens) - 1
        found = []
        for phrase, spans in enumerate(phrases):
            if not spans:
                raise EmptyPhraseError(f"phrase {phrase} of {text!r} has no span, expected at least one")
            found.append(
                sorted({token for span in spans for token in _find_covered(text, offsets, span, last)})
            )
        return found

    @staticmethod
    def positive_map(phrase_tokens: Sequence[Sequence[int]], width: int) -> Tensor:
        """Return [P, width] float, 1 at each phrase's tokens: the rows of a label's `positive_map`."""
        rows = torch.zeros(len(phrase_tokens), width)
        for phrase, tokens in enumerate(phrase_tokens):
            rows[phrase, list(tokens)] = 1
        return rows

    def post_process_labels(
        self,
        outputs: GlipGroundingOutput,
        inputs: Mapping[str, Tensor],
        labels: Sequence[Sequence[str]],
        target_sizes: Sequence[Size],
        threshold: float = 0.05,
        nms_iou: float = 0.6,
    ) -> list[LabelDetections]:
        """Return the boxes of each image's labels, in the pixels of the image.

        inputs:       what calling the processor with the same lists of labels returned
        labels:       one list of labels for each image
        target_sizes: (height, width) of each image. Boxes are half-open pixels of it
        """
        tokens = []
        for own in labels:
            spans: list[list[Span]] = []
            begin = 0
            for label in own:
                spans.append([(begin, begin + len(label))])
                begin += len(label) + len(PROMPT_SEPARATOR)
            tokens.append(
                self.phrase_tokens(PROMPT_SEPARATOR.join(own), spans, outputs.token_logits.shape[-1])
            )
        found = self.post_process_grounded_object_detection(
            outputs, tokens, self.image_sizes(inputs["pixel_mask"]), target_sizes, threshold, nms_iou
        )
        results = []
        for one, own, size in zip(found, labels, target_sizes, strict=True):
            results.append(
                LabelDetections(
                    scores=one["scores"],
                    labels=one["labels"],
                    text_labels=[own[int(index)] for index in one["labels"]],
                    boxes=make_half_open(one["boxes"], size),
                )
            )
        return results

    @staticmethod
    def post_process_grounded_object_detection(
        outputs: GlipGroundingOutput,
        phrase_tokens: Sequence[Sequence[Sequence[int]]],
        image_sizes: Sequence[Size],
        target_sizes: Sequence[Size] | None = None,
        threshold: float = 0.05,
        nms_iou: float = 0.6,
        pre_nms_top_k: int = 1000,
        max_detections: int = 100,
    ) -> list[ImageDetections]:
        """Return the detections of each image, best first. Labels are indices into the image's phrase_tokens.

        phrase_tokens: per image, per phrase, its token positions
        image_sizes:   (height, width) inside the padding; boxes are clipped to it
        target_sizes:  (height, width) to scale the boxes to, for example the stored image's; None: the network's
                       pixels. Boxes are inclusive pixels. For half-open ones, add 1 to right and bottom of the result.
        """
        rules = DetectionRules(threshold, nms_iou, pre_nms_top_k, max_detections)
        images = len(outputs.token_logits)
        if (
            len(phrase_tokens) != images
            or len(image_sizes) != images
            or len(target_sizes or image_sizes) != images
        ):
            raise ValueError(
                f"outputs of {images} images need as many phrase_tokens, image_sizes and target_sizes"
            )
        results = []
        for index, size in enumerate(image_sizes):
            found = detect(outputs, index, phrase_tokens[index], size, rules)
            if target_sizes is not None:
                height, width = (target_sizes[index][axis] / size[axis] for axis in (0, 1))
                found["boxes"] = found["boxes"] * found["boxes"].new_tensor([width, height, width, height])
            results.append(found)
        return results


class LabelDetections(TypedDict):
    """Detections of one image, best first: scores [N], indices of labels [N], their texts, boxes xyxy [N, 4]."""

    scores: Tensor
    labels: Tensor
    text_labels: list[str]
    boxes: Tensor


def _join_labels(text: str | Sequence[str] | Sequence[Sequence[str]]) -> list[str]:
    """Return one text for each image. A list of labels is joined as in detection prompts."""
    if isinstance(text, str):
        return [text]
    return [one if isinstance(one, str) else PROMPT_SEPARATOR.join(one) for one in text]


def _find_covered(text: str, offsets: Sequence[Span], span: Span, last: int) -> list[int]:
    begin, end = span
    covered = [
        index for index, (start, stop) in enumerate(offsets) if start < min(end, stop) and stop > begin
    ]
    if not covered:
        raise EmptyPhraseError(f"the span [{begin}, {end}) = {text[begin:end]!r} of {text!r} covers no token")
    if covered[-1] >= last:
        # may become the detail of a rejected sample, which is stored, so the text must not change
        raise EmptyPhraseError(
            f"the phrase {text[begin:end]!r} reaches token {covered[-1]}, but only {last} fit: split the prompt at "
            "phrase borders"
        )
    return covered
