"""A GLIP model as teacher: phrases are grounded by aligning their tokens with places in the image.

Promise: a sample's regions depend on the sample and on the batch size alone. Its padding is a function of its own
size, the text width is fixed, and a batch is always full: missing rows are blank.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from schemas.errors import ConfigError, EmptyPhrase, EnvironmentProblem, OutOfMemory, SampleRejected
from schemas.labeler import Prepared
from schemas.records import Region, Sample
from teacher.grounding.regions import regions_of
from teacher.labelers.glip_settings import GlipSettings, glip_digest
from teacher.models.glip import GlipForGrounding
from teacher.models.glip.checkpoint.directory import read_directory
from teacher.models.glip.outputs import GlipGroundingOutput
from teacher.prompts.packing import AskedSpan, Budget, Prompt, PromptPlan, pack, pack_decoys

# The engine suppresses per phrase and caps; here every candidate goes on to it.
NO_SUPPRESSION_IOU = 1.0
NO_LIMIT = 1_000_000
NO_TOKEN = "PH_NO_TOKEN"
# The one bucket of a teacher that pads to the batch's largest image.
ANY_SIZE = (0, 0)


@dataclass(frozen=True)
class AskedPrompt:
    """A prompt as token ids [T] and mask [T], and for each of its phrases the number in the sample and the tokens."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    phrases: tuple[int, ...]
    tokens: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class AskedImage:
    """A resized image [h, w, 3] uint8, the size (height, width) of the stored one, and the prompts to put to it."""

    resized_rgb_u8: np.ndarray
    stored_size: tuple[int, int]
    prompts: tuple[AskedPrompt, ...]
    first_pass: int = 0
    """`pass_index` of the first prompt"""


class GlipLabeler:
    """`schemas.labeler.Labeler` over a GLIP directory."""

    # As in the authors' inference: a box is a candidate when its phrase score alone is above min_score.
    score_kind = "glip.sqrt(token_mean*centerness)"

    def __init__(self, settings: GlipSettings, batch_size: int, min_score: float) -> None:
        self.digest = glip_digest(settings)
        self.batch_size = batch_size
        self._settings, self._min_score = settings, min_score
        self._device = _device(settings.device)
        _, self._processor = read_directory(settings.model)
        model = GlipForGrounding.from_pretrained(settings.model, local_files_only=True)
        self._model = model.to(self._device).eval()
        self._only_prompt = model.config.tuned_prompt
        self._width = min(
            settings.text_tokens or math.inf, self._processor.max_tokens, model.config.text_positions
        )
        self._budget = Budget(self._width, self._processor.token_count)
        self._blank_text = self._processor.tokens([""], self._width)

    def prepare(self, sample: Sample, image_rgb_u8: np.ndarray) -> Prepared:
        """The resized image and the prompts with their tokens; a phrase that no prompt can hold is in `dropped`."""
        plan = pack(sample.caption, sample.phrases, self._budget, self._settings.prompt)
        return self._prepared(plan, image_rgb_u8)

    def prepare_decoys(self, sample: Sample, image_rgb_u8: np.ndarray) -> Prepared:
        """As `prepare`, for the decoys alone: after the caption, or after its phrases where that does not fit."""
        mode = self._settings.prompt
        others = [phrase for phrase in sample.phrases if phrase.kind != "decoy"]
        first = len(pack(sample.caption, others, self._budget, mode).prompts)
        plan = pack_decoys(sample.caption, sample.phrases, self._budget, mode)
        return replace(self._prepared(plan, image_rgb_u8, first), second_pass=True)

    def _prepared(self, plan: PromptPlan, image_rgb_u8: np.ndarray, first_pass: int = 0) -> Prepared:
        prompts, without_token = [], []
        for prompt in plan.prompts:
            if self._only_prompt not in (None, prompt.text):
                raise ConfigError(
                    f"{self._settings.model} is tuned for the prompt {self._only_prompt!r} alone and cannot be asked "
                    f"{prompt.text!r}; use the model it was tuned from"
                )
            asked, missed = self._asked(prompt)
            prompts.append(asked)
            without_token += [(number, NO_TOKEN) for number in missed]
        resized = self._processor.resize(image_rgb_u8)
        height, width = image_rgb_u8.shape[:2]
        return Prepared(
            bucket=self._padded(resized.shape[:2]),
            inputs=AskedImage(resized, (height, width), tuple(prompts), first_pass),
            dropped=(*plan.dropped, *without_token),
        )

    def label(self, batch: Sequence[Prepared | None]) -> list[list[Region]]:
        """Regions per row; a sample with several prompts is asked once for each, marked by `pass_index`."""
        rows: list[AskedImage | None] = [None if item is None else item.inputs for item in batch]
        regions: list[list[Region]] = [[] for _ in rows]
        bucket = next((item.bucket for item in batch if item is not None), None)
        passes = max((len(row.prompts) for row in rows if row is not None), default=0)
        for index in range(passes):
            asked = [row if row is not None and index < len(row.prompts) else None for row in rows]
            for own, found in zip(regions, self._ask(asked, index, bucket), strict=True):
                own.extend(found)
        return regions

    def close(self) -> None:
        """Leave the accelerator's memory to another process; nothing can be asked after that."""
        self._model = self._model.cpu()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _ask(
        self, rows: Sequence[AskedImage | None], index: int, bucket: tuple[int, int]
    ) -> list[list[Region]]:
        prompts = [None if row is None else row.prompts[index] for row in rows]
        blank = np.zeros((1, 1, 3), dtype=np.uint8)
        images = [blank if row is None else row.resized_rgb_u8 for row in rows]
        outputs = self._forward(images, prompts, bucket)
        _check_finite(outputs)
        found = self._processor.post_process_grounded_object_detection(
            outputs,
            [[] if prompt is None else prompt.tokens for prompt in prompts],
            [image.shape[:2] for image in images],
            target_sizes=[(1, 1) if row is None else row.stored_size for row in rows],
            threshold=self._min_score,
            nms_iou=NO_SUPPRESSION_IOU,
            max_detections=NO_LIMIT,
        )
        return [
            []
            if row is None or prompt is None
            else regions_of(
                _on_cpu(one), prompt.phrases, row.stored_size, self._min_score, row.first_pass + index
            )
            for row, prompt, one in zip(rows, prompts, found, strict=True)
        ]

    @torch.inference_mode()
    def _forward(
        self, images: Sequence[np.ndarray], prompts: Sequence[AskedPrompt | None], bucket: tuple[int, int]
    ) -> GlipGroundingOutput:
        pixels = self._processor.pixels(images, "authors" if bucket == ANY_SIZE else bucket)
        texts = {
            name: torch.stack([self._blank_text[name][0] if p is None else getattr(p, name) for p in prompts])
            for name in ("input_ids", "attention_mask")
        }
        with _memory_errors_named():
            inputs = {name: value.to(self._device) for name, value in {**pixels, **texts}.items()}
            return self._model(**inputs)

    def _asked(self, prompt: Prompt) -> tuple[AskedPrompt, list[int]]:
        """The prompt's tokens, and the numbers of phrases that no token falls into."""
        encoded = self._processor.tokens([prompt.text], self._width)
        covered, missed = self._covered(prompt, prompt.spans)
        asked = AskedPrompt(
            encoded["input_ids"][0], encoded["attention_mask"][0], tuple(covered), tuple(covered.values())
        )
        return asked, missed

    def _covered(
        self, prompt: Prompt, spans: Sequence[AskedSpan]
    ) -> tuple[dict[int, tuple[int, ...]], list[int]]:
        """Tokens by phrase number; spans without a token are found one by one, since they are rare."""
        try:
            stretches = [[(span.begin, span.end)] for span in spans]
            tokens = self._processor.phrase_tokens(prompt.text, stretches, self._width)
            return {span.phrase: tuple(own) for span, own in zip(spans, tokens, strict=True)}, []
        except EmptyPhrase:
            if len(spans) == 1:
                return {}, [spans[0].phrase]
        parts = [self._covered(prompt, [span]) for span in spans]
        covered = {phrase: own for part, _ in parts for phrase, own in part.items()}
        return covered, [phrase for _, missed in parts for phrase in missed]

    def _padded(self, size: tuple[int, ...]) -> tuple[int, int]:
        if self._settings.pad == "authors":
            return ANY_SIZE
        multiple = self._settings.pad_multiple
        height, width = (math.ceil(side / multiple) * multiple for side in size)
        return height, width


def _device(name: str) -> torch.device:
    """The device asked for. On a CPU one thread, for the whole process: more would change the last bits of a sum."""
    if name == "cuda" and not torch.cuda.is_available():
        raise EnvironmentProblem("teacher.device is cuda and this process sees no GPU; use auto or cpu")
    device = torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)
    return device


def _check_finite(outputs: GlipGroundingOutput) -> None:
    """A score that is no number passes no threshold, so it would look like "nothing there"."""
    for name in ("token_logits", "box_deltas", "centerness_logits"):
        if not torch.isfinite(getattr(outputs, name)).all():
            raise SampleRejected("TEACHER_NONFINITE", f"{name} of the batch holds values that are not finite")


def _on_cpu(found: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: value.cpu().numpy() for name, value in found.items()}


@contextmanager
def _memory_errors_named() -> Iterator[None]:
    """torch's memory errors as `schemas.OutOfMemory`; on a CPU they are plain RuntimeErrors, told by their text."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(str(error)) from error
    except RuntimeError as error:
        if "not enough memory" in str(error) or "can't allocate memory" in str(error):
            raise OutOfMemory(str(error)) from error
        raise
