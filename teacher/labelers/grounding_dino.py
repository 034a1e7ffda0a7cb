"""The teacher `grounding-dino`: phrases are grounded by the tokens of one prompt.

The score of a phrase is that of its own tokens alone: `sigmoid(logits)`, pooled. The labels and scores of
`post_process_grounded_object_detection` are not used: its score is the best of *all* tokens, and its label joins
whatever tokens pass a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from schemas.errors import ConfigError
from schemas.labeler import Labeler
from schemas.records import Sample
from teacher.huggingface.entry import TOKENIZER_OPTIONS, HuggingFaceTeacher
from teacher.huggingface.images import ImageRgb, Size
from teacher.huggingface.labeler import (
    Found,
    HuggingFaceLabeler,
    Question,
    Questions,
    center_to_corners,
    select_candidates,
    to_numpy,
)
from teacher.huggingface.loading import load_weights
from teacher.huggingface.model_files import CONFIG, read_object
from teacher.huggingface.prompt_text import NO_TOKEN, EncodedPrompt, PromptTokenizer, choose_width
from teacher.huggingface.settings import PromptSettings
from teacher.prompts.packing import Budget, PromptPlan, pack, pack_decoys
from teacher.registry import LabelerOptions

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_MAX_TOKENS = 256
_SEPARATOR_IDS = {"[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}
"""Tokens at which the model class splits a text. Their ids are constants of its code."""


@dataclass(frozen=True)
class ImageBatch:
    """Pixels [B, 3, H, W] and mask [B, H, W]. The model fuses text and image, so no features can be kept."""

    pixel_values: torch.Tensor
    pixel_mask: torch.Tensor


class GroundingDinoSettings(PromptSettings):
    """A Grounding DINO directory as teacher."""

    kind: Literal["grounding-dino"] = Field("grounding-dino", description="a Grounding DINO directory")


class GroundingDinoLabeler(HuggingFaceLabeler[PromptSettings, EncodedPrompt, ImageBatch]):
    """Asks a model of the Grounding DINO family."""

    score_kind = "grounding_dino.token_score"

    def load_model(self) -> torch.nn.Module:
        self._tokenizer = load_prompt_tokenizer(self.folder)
        self._limit = self._tokenizer.budget.limit
        return load_weights(self.get_model_class(), self.folder)

    def get_model_class(self) -> type[PreTrainedModel]:
        """Return the class in `transformers`."""
        from transformers import GroundingDinoForObjectDetection

        return GroundingDinoForObjectDetection

    def ask(self, sample: Sample) -> Questions[EncodedPrompt]:
        return self._tokenize(
            pack(sample.caption, sample.phrases, self._tokenizer.budget, self.settings.prompt)
        )

    def ask_decoys(self, sample: Sample) -> Questions[EncodedPrompt]:
        return self._tokenize(
            pack_decoys(sample.caption, sample.phrases, self._tokenizer.budget, self.settings.prompt)
        )

    def _tokenize(self, plan: PromptPlan) -> Questions[EncodedPrompt]:
        texts = [self._tokenizer.tokenize(prompt) for prompt in plan.prompts]
        missed = tuple((phrase, NO_TOKEN) for text in texts for phrase in text.missed)
        width = max((choose_width(len(text.input_ids), self._limit) for text in texts), default=0)
        questions = tuple(Question(text.phrases, text) for text in texts if text.phrases)
        return Questions(questions, width, (*plan.dropped, *missed))

    def encode(self, images: Sequence[ImageRgb | None], size: Size) -> ImageBatch:
        return ImageBatch(*self.normalize(images, size))

    def answer(
        self, features: ImageBatch, questions: Sequence[Question[EncodedPrompt] | None], width: int
    ) -> list[Found]:
        ids = np.full((len(questions), width), self._tokenizer.pad_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, question in enumerate(questions):
            own = self._tokenizer.blank if question is None else question.text.input_ids
            ids[row, : len(own)] = own
            mask[row, : len(own)] = 1
        outputs = self.model(
            pixel_values=features.pixel_values,
            pixel_mask=features.pixel_mask,
            input_ids=self.to_tensor(ids),
            attention_mask=self.to_tensor(mask),
            token_type_ids=self.to_tensor(np.zeros_like(ids)),
        )
        token_scores = to_numpy(outputs.logits.float().sigmoid())
        boxes = center_to_corners(to_numpy(outputs.pred_boxes))
        return [
            self._read(question, *row) for question, *row in zip(questions, token_scores, boxes, strict=True)
        ]

    def _read(
        self, question: Question[EncodedPrompt] | None, token_scores_QT: np.ndarray, boxes_Q4: np.ndarray
    ) -> Found:
        tokens = () if question is None else question.text.tokens
        pool = np.max if self.settings.pool == "max" else np.mean
        columns = [pool(token_scores_QT[:, list(own)], axis=1) for own in tokens]
        scores_QP = np.stack(columns, axis=1) if columns else np.empty((len(boxes_Q4), 0), np.float32)
        return select_candidates(scores_QP, boxes_Q4, self.min_score)


class GroundingDinoTeacher(HuggingFaceTeacher[GroundingDinoSettings]):
    """A directory with `model_type: grounding-dino`."""

    description = "a Grounding DINO directory"
    settings_class = GroundingDinoSettings
    model_types = frozenset({"grounding-dino"})
    min_score = 0.1
    starting_policy = MappingProxyType({"min_score": 0.35})
    scores_from = "box_threshold 0.35 of the authors' demo; the floor is well below it"

    def make(self, settings: GroundingDinoSettings, options: LabelerOptions) -> Labeler:
        return GroundingDinoLabeler(settings, options, self.digest(settings))

    def prompt_budget(self, path: Path) -> Budget:
        return load_prompt_tokenizer(path).budget


def load_prompt_tokenizer(folder: Path) -> PromptTokenizer:
    """Return the tokenizer of a directory, with the most tokens that its model accepts.

    raises: ConfigError for another vocabulary than BERT's, because phrases would run into each other
    """
    from transformers import AutoTokenizer

    limit = read_object(folder / CONFIG).get("max_text_len", _MAX_TOKENS)
    tokenizer = AutoTokenizer.from_pretrained(folder, **TOKENIZER_OPTIONS)
    ids = {text: tokenizer.convert_tokens_to_ids(text) for text in _SEPARATOR_IDS}
    if ids != _SEPARATOR_IDS:
        raise ConfigError(
            f"the tokenizer of {folder} has the token ids {ids}, and the model separates phrases by {_SEPARATOR_IDS}; "
            "use the tokenizer that was published with the model (that of bert-base-uncased)"
        )
    return PromptTokenizer(tokenizer, int(str(limit)))


ENTRY = GroundingDinoTeacher()
