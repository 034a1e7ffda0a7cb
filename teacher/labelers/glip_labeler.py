"""A GLIP model as teacher: phrases are grounded by aligning their tokens with places in the image.

A sample's regions depend on the sample and on the batch size alone. Its padding is a function of its own size, the
text width is fixed, and a batch is always full: missing rows are blank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from schemas.errors import (
    ConfigError,
    EmptyPhraseError,
    SampleRejectedError,
)
from schemas.labeler import NeededSize, PreparedSample, find_stored_size
from schemas.records import Region, Sample
from teacher.grounding.regions import make_regions
from teacher.huggingface.running import choose_device, place_model, release_memory, run_model
from teacher.labelers.glip_settings import GlipSettings, glip_digest
from teacher.models.glip import GlipForGrounding
from teacher.models.glip.checkpoint.directory import read_directory
from teacher.models.glip.outputs import GlipGroundingOutput, ImageDetections
from teacher.prompts.packing import Budget, PackedPrompt, PhraseSpan, PromptPlan, pack, pack_decoys

# The engine suppresses per phrase and applies the cap, so every candidate is returned to it.
NO_SUPPRESSION_IOU = 1.0
NO_LIMIT = 1_000_000
NO_TOKEN = "PH_NO_TOKEN"
# The one bucket of a teacher that pads to the batch's largest image.
ANY_SIZE = (0, 0)


@dataclass(frozen=True)
class TokenizedPrompt:
    """A prompt as token ids [T] and mask [T], and for each of its phrases the number in the sample and the tokens."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    phrases: tuple[int, ...]
    tokens: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class GlipInput:
    """A resized image [h, w, 3] uint8, the size (height, width) of the stored one, and the prompts of the sample."""

    resized_rgb_u8: np.ndarray
    stored_size: tuple[int, int]
    prompts: tuple[TokenizedPrompt, ...]
    first_pass: int = 0
    """`pass_index` of the first prompt"""


class GlipLabeler:
    """`schemas.labeler.Labeler` for a GLIP directory."""

    # As in the authors' inference: a box is a candidate if its phrase score alone is above min_score.
    score_kind = "glip.sqrt(token_mean*centerness)"

    def __init__(self, settings: GlipSettings, batch_size: int, min_score: float) -> None:
        """Load the model onto its device."""
        self.digest = glip_digest(settings)
        self.batch_size = batch_size
        self._settings, self._min_score = settings, min_score
        self._device = choose_device(settings.device)
        _, self._processor = read_directory(settings.model)
        self.needed_size: NeededSize | None = self._processor.target_size if settings.reduce_jpegs else None
        model = GlipForGrounding.from_pretrained(settings.model, local_files_only=True)
        self._model = place_model(model, settings, self._device)
        self._tuned_prompt = model.config.tuned_prompt
        limits = [self._processor.max_tokens, model.config.text_positions]
        self._width = min(limits if settings.text_tokens is None else [settings.text_tokens, *limits])
        self._budget = Budget(self._width, self._processor.token_count)
        self._blank_text = self._processor.tokens([""], self._width)

    def prepare(self, sample: Sample, image_rgb_u8: np.ndarray) -> PreparedSample:
        """Return the resized image and the tokenized prompts. A phrase that fits into no prompt is in `dropped`."""
        plan = pack(sample.caption, sample.phrases, self._budget, self._settings.prompt)
        return self._prepare_plan(plan, sample, image_rgb_u8)

    def prepare_decoys(self, sample: Sample, image_rgb_u8: np.ndarray) -> PreparedSample:
        """Prepare for the decoys alone, after the caption, or after its phrases if that does not fit."""
        mode = self._settings.prompt
        others = [phrase for phrase in sample.phrases if phrase.kind != "decoy"]
        first = len(pack(sample.caption, others, self._budget, mode).prompts)
        plan = pack_decoys(sample.caption, sample.phrases, self._budget, mode)
        return replace(self._prepare_plan(plan, sample, image_rgb_u8, first), second_pass=True)

    def _prepare_plan(
        self, plan: PromptPlan, sample: Sample, image_rgb_u8: np.ndarray, first_pass: int = 0
    ) -> PreparedSample:
        prompts, without_token = [], []
        for prompt in plan.prompts:
            if self._tuned_prompt not in (None, prompt.text):
                raise ConfigError(
                    f"{self._settings.model} is tuned for the prompt {self._tuned_prompt!r} alone and cannot be asked "
                    f"{prompt.text!r}; use the model it was tuned from"
                )
            tokenized, missed = self._tokenize(prompt)
            prompts.append(tokenized)
            without_token += [(number, NO_TOKEN) for number in missed]
        stored = find_stored_size(sample, image_rgb_u8, self.needed_size)
        resized = self._processor.resize(image_rgb_u8, stored_size=stored)
        bucket = self._padded_size(resized.shape[:2])
        return PreparedSample(
            bucket=bucket,
            inputs=GlipInput(resized, stored, tuple(prompts), first_pass),
            dropped=(*plan.dropped, *without_token),
            filled=None if bucket == ANY_SIZE else resized.shape[0] * resized.shape[1] / math.prod(bucket),
        )

    def label(self, batch: Sequence[PreparedSample | None]) -> list[list[Region]]:
        """Return regions per row. A sample with several prompts runs once for each, marked by `pass_index`."""
        rows: list[GlipInput | None] = [None if item is None else item.inputs for item in batch]
        regions: list[list[Region]] = [[] for _ in rows]
        bucket = next((item.bucket for item in batch if item is not None), ANY_SIZE)
        passes = max((len(row.prompts) for row in rows if row is not None), default=0)
        for index in range(passes):
            active = [row if row is not None and index < len(row.prompts) else None for row in rows]
            for own, found in zip(
                regions, self._run_pass(active, index, (bucket[0], bucket[1])), strict=True
            ):
                own.extend(found)
        return regions

    def close(self) -> None:
        """Release the accelerator's memory. The labeler cannot be used after that."""
        release_memory(self._model, self._device)

    def _run_pass(
        self, rows: Sequence[GlipInput | None], index: int, bucket: tuple[int, int]
    ) -> list[list[Region]]:
        prompts = [None if row is None else row.prompts[index] for row in rows]
        blank = np.zeros((1, 1, 3), dtype=np.uint8)
        images = [blank if row is None else row.resized_rgb_u8 for row in rows]
        outputs = self._forward(images, prompts, bucket)
        _check_finite(outputs)
        detections = self._processor.post_process_grounded_object_detection(
            outputs,
            [[] if prompt is None else prompt.tokens for prompt in prompts],
            [(image.shape[0], image.shape[1]) for image in images],
            target_sizes=[(1, 1) if row is None else row.stored_size for row in rows],
            threshold=self._min_score,
            nms_iou=NO_SUPPRESSION_IOU,
            max_detections=NO_LIMIT,
        )
        return [
            []
            if row is None or prompt is None
            else make_regions(
                _to_numpy(one),
                prompt.phrases,
                row.stored_size,
                min_score=self._min_score,
                pass_index=row.first_pass + index,
            )
            for row, prompt, one in zip(rows, prompts, detections, strict=True)
        ]

    def _forward(
        self,
        images: Sequence[np.ndarray],
        prompts: Sequence[TokenizedPrompt | None],
        bucket: tuple[int, int],
    ) -> GlipGroundingOutput:
        pixels = self._processor.pixels(images, "authors" if bucket == ANY_SIZE else bucket)
        texts = {
            name: torch.stack([self._blank_text[name][0] if p is None else getattr(p, name) for p in prompts])
            for name in ("input_ids", "attention_mask")
        }
        with run_model(self._device, self._settings.precision):
            inputs = {name: value.to(self._device) for name, value in {**pixels, **texts}.items()}
            if self._settings.channels_last:
                image = inputs["pixel_values"]
                inputs["pixel_values"] = image.contiguous(memory_format=torch.channels_last)
            outputs = self._model(**inputs)
        values: dict[str, Any] = {
            n: v.float() if torch.is_tensor(v) and v.is_floating_point() else v for n, v in outputs.items()
        }
        return GlipGroundingOutput(**values)

    def _tokenize(self, prompt: PackedPrompt) -> tuple[TokenizedPrompt, list[int]]:
        """Return the prompt's tokens, and the numbers of phrases without a token."""
        encoded = self._processor.tokens([prompt.text], self._width)
        covered, missed = self._find_tokens(prompt, prompt.spans)
        tokenized = TokenizedPrompt(
            encoded["input_ids"][0], encoded["attention_mask"][0], tuple(covered), tuple(covered.values())
        )
        return tokenized, missed

    def _find_tokens(
        self, prompt: PackedPrompt, spans: Sequence[PhraseSpan]
    ) -> tuple[dict[int, tuple[int, ...]], list[int]]:
        """Return tokens by phrase number, and phrases without one. These are rare, so they are found one by one."""
        try:
            ranges = [[(span.begin, span.end)] for span in spans]
            tokens = self._processor.phrase_tokens(prompt.text, ranges, self._width)
            return {span.phrase: tuple(own) for span, own in zip(spans, tokens, strict=True)}, []
        except EmptyPhraseError:
            if len(spans) == 1:
                return {}, [spans[0].phrase]
        parts = [self._find_tokens(prompt, [span]) for span in spans]
        covered = {phrase: own for part, _ in parts for phrase, own in part.items()}
        return covered, [phrase for _, missed in parts for phrase in missed]

    def _padded_size(self, size: tuple[int, ...]) -> tuple[int, int]:
        if self._settings.pad == "authors":
            return ANY_SIZE
        multiple = self._settings.pad_multiple
        height, width = (math.ceil(side / multiple) * multiple for side in size)
        return height, width


def _check_finite(outputs: GlipGroundingOutput) -> None:
    """Raise SampleRejectedError for scores that are not finite, which would look like no boxes at all."""
    for name in ("token_logits", "box_deltas", "centerness_logits"):
        if not torch.isfinite(getattr(outputs, name)).all():
            # stored in the row of the rejected sample, which the digest of its unit covers, so the text must not change
            raise SampleRejectedError(
                "TEACHER_NONFINITE", f"{name} of the batch holds values that are not finite"
            )


def _to_numpy(detections: ImageDetections) -> dict[str, np.ndarray]:
    return {
        "scores": detections["scores"].cpu().numpy(),
        "labels": detections["labels"].cpu().numpy(),
        "boxes": detections["boxes"].cpu().numpy(),
    }
