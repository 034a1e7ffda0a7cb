"""The teacher `omdet-turbo`: several phrases are the classes of one question, next to a sentence that names them all.

The score of a phrase is `sigmoid(decoder_class_logits)` of its own class, for every box query. The published
post-processing keeps the best `num_queries` pairs of query and class together, so a phrase with many boxes takes those
of another. Here no pair competes with another, and overlapping boxes are suppressed by the engine.

The classes of a question do depend on each other inside the model. It keeps the queries with the best score of *any*
class, and the sentence with all classes takes part in attention. Phrases are therefore grouped by the sample alone, in
order. `classes_per_question: 1` asks for each phrase on its own, at the price of one pass for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from schemas.errors import ConfigError
from schemas.labeler import Labeler
from schemas.records import Sample
from teacher.huggingface.entry import TOKENIZER_OPTIONS, HuggingFaceTeacher
from teacher.huggingface.images import ImageRgb, ImageRules, Size, read_stretch_rules
from teacher.huggingface.labeler import (
    Found,
    HuggingFaceLabeler,
    Question,
    Questions,
    center_to_corners,
    select_candidates,
    to_numpy,
)
from teacher.huggingface.loading import count_positions, load_weights
from teacher.huggingface.prompt_text import NO_TOKEN, choose_width
from teacher.huggingface.settings import HuggingFaceSettings
from teacher.huggingface.text_ids import TextIds, TextTokenizer
from teacher.prompts.packing import TOO_LONG
from teacher.registry import LabelerOptions

if TYPE_CHECKING:
    import torch
    from transformers import OmDetTurboForObjectDetection

_MAX_TOKENS = 77
"""Tokens to which the published processor pads and cuts every text."""
_CACHED_QUESTIONS = 128


@dataclass(frozen=True)
class ClassTexts:
    """The texts of one question: its classes, and the sentence that names them. The last classes are asked for."""

    sentence: TextIds
    classes: tuple[TextIds, ...]

    def longest(self) -> int:
        """Return the number of tokens of the longest text."""
        return max(len(text) for text in (self.sentence, *self.classes))


class OmDetTurboSettings(HuggingFaceSettings):
    """An OmDet-Turbo directory as teacher."""

    kind: Literal["omdet-turbo"] = Field("omdet-turbo", description="an OmDet-Turbo directory")
    classes_per_question: int = Field(
        16,
        ge=1,
        le=128,
        description="most phrases that are asked in one pass over the image; they influence each other's scores, so 1 "
        "makes each phrase independent of the others and costs a pass for each",
    )


class OmDetTurboLabeler(HuggingFaceLabeler[OmDetTurboSettings, ClassTexts, "list[torch.Tensor]"]):
    """Asks an OmDet-Turbo model. The image is encoded once for all questions."""

    score_kind = "omdet_turbo.sigmoid"

    def read_rules(self) -> ImageRules:
        return read_stretch_rules(self.folder)

    def load_model(self) -> torch.nn.Module:
        from transformers import OmDetTurboForObjectDetection

        check_backbone(self.folder)
        model = load_weights(OmDetTurboForObjectDetection, self.folder)
        if not hasattr(model.decoder, "task_project"):
            # read, but never set, where both widths are equal
            model.decoder.register_module("task_project", None)
        if self.settings.compile:
            for part in (model.vision_backbone, model.encoder, model.decoder):
                part.compile()
        self._parts: OmDetTurboForObjectDetection = model
        self._limit = min(_MAX_TOKENS, count_positions(model))
        self._tokenizer = TextTokenizer(self.folder, self._limit)
        self._encode_texts = lru_cache(_CACHED_QUESTIONS)(self._run_text_encoder)
        return model

    def close(self) -> None:
        self._encode_texts.cache_clear()
        super().close()

    def ask(self, sample: Sample) -> Questions[ClassTexts]:
        decoys = [number for number, phrase in enumerate(sample.phrases) if phrase.kind == "decoy"]
        others = [number for number in range(len(sample.phrases)) if number not in decoys]
        groups, dropped = self._group(sample, others)
        decoy_groups, dropped_decoys = self._group(sample, decoys)
        questions = [self._make_question(sample, group) for group in (*groups, *decoy_groups)]
        return self._collect(questions, (*dropped, *dropped_decoys))

    def ask_decoys(self, sample: Sample) -> Questions[ClassTexts]:
        """Ask for decoys next to as many of the other phrases as fit, since a class is scored in company."""
        decoys = [number for number, phrase in enumerate(sample.phrases) if phrase.kind == "decoy"]
        others = [number for number in range(len(sample.phrases)) if number not in decoys]
        usable = [number for group in self._group(sample, others)[0] for number in group]
        groups, dropped = self._group(sample, decoys)
        questions = []
        for group in groups:
            context = next(
                usable[:count]
                for count in range(len(usable), -1, -1)
                if self._fits(sample, [*usable[:count], *group])
            )
            questions.append(self._make_question(sample, group, context))
        return self._collect(questions, dropped)

    def _group(
        self, sample: Sample, numbers: Sequence[int]
    ) -> tuple[list[list[int]], tuple[tuple[int, str], ...]]:
        """Return phrases in groups that fit into one question, and (number, code) of those that fit into none."""
        groups: list[list[int]] = []
        dropped = []
        for number in numbers:
            if not self._tokenizer.encode(sample.phrases[number].text):
                dropped.append((number, NO_TOKEN))
            elif not self._fits(sample, [number]):
                dropped.append((number, TOO_LONG))
            elif groups and self._fits(sample, [*groups[-1], number]):
                groups[-1].append(number)
            else:
                groups.append([number])
        return groups, tuple(dropped)

    def _fits(self, sample: Sample, numbers: Sequence[int]) -> bool:
        if len(numbers) > self.settings.classes_per_question:
            return False
        return self._make_question(sample, numbers).text.longest() <= self._limit

    def _make_question(
        self, sample: Sample, numbers: Sequence[int], context: Sequence[int] = ()
    ) -> Question[ClassTexts]:
        texts = [sample.phrases[number].text for number in (*context, *numbers)]
        sentence = self._tokenizer.encode(f"Detect {', '.join(texts)}.")
        return Question(
            tuple(numbers), ClassTexts(sentence, tuple(self._tokenizer.encode(text) for text in texts))
        )

    def _collect(
        self, questions: Sequence[Question[ClassTexts]], dropped: tuple[tuple[int, str], ...]
    ) -> Questions[ClassTexts]:
        longest = max((question.text.longest() for question in questions), default=0)
        width = choose_width(longest, self._limit) if questions else 0
        return Questions(tuple(questions), width, dropped)

    def encode(self, images: Sequence[ImageRgb | None], size: Size) -> list[torch.Tensor]:
        pixels, _ = self.normalize(images, size)
        return list(self._parts.encoder(self._parts.vision_backbone(pixels)).extracted_states)

    def answer(
        self, features: list[torch.Tensor], questions: Sequence[Question[ClassTexts] | None], width: int
    ) -> list[Found]:
        import torch

        blank = ClassTexts(self._tokenizer.blank, (self._tokenizer.blank,))
        texts = [blank if question is None else question.text for question in questions]
        classes, sentences = zip(*(self._encode_texts(text, width) for text in texts), strict=True)
        _, mask = self._tokenizer.pad([text.sentence for text in texts], width)
        outputs = self._parts.decoder(
            features, torch.stack(classes, dim=1), torch.stack(sentences, dim=1), self.to_tensor(mask)
        )
        scores = to_numpy(outputs.decoder_classes[-1].float().sigmoid())
        boxes = center_to_corners(to_numpy(outputs.decoder_coords[-1]))
        return [self._read(question, *row) for question, *row in zip(questions, scores, boxes, strict=True)]

    def _run_text_encoder(self, text: ClassTexts, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features of the classes [C, D] and of the sentence's tokens [width, D].

        C is always `classes_per_question`. Without that, the model would fill up shorter lists of a batch with zeros,
        and these are scored: they decide which queries are kept. Here the last class is repeated, which changes no
        maximum. The model's own cache is not used, because its numbers depend on earlier batches.
        """
        count = len(text.classes)
        classes = [*text.classes, *[text.classes[-1]] * (self.settings.classes_per_question - count)]
        ids, mask = self._tokenizer.pad([*classes, text.sentence], width)
        encoder = self._parts.language_backbone
        states = encoder.model(self.to_tensor(ids))[0]
        ends = self.to_tensor(mask.sum(axis=1)[:-1] - 1)
        rows = self.to_tensor(np.arange(len(classes)))
        return states[rows, ends] @ encoder.text_projection, states[-1]

    def _read(
        self, question: Question[ClassTexts] | None, scores_QC: np.ndarray, boxes_Q4: np.ndarray
    ) -> Found:
        asked = 0 if question is None else len(question.phrases)
        last = 0 if question is None else len(question.text.classes)
        return select_candidates(scores_QC[:, last - asked : last], boxes_Q4, self.min_score)


class OmDetTurboTeacher(HuggingFaceTeacher[OmDetTurboSettings]):
    """A directory with `model_type: omdet-turbo`."""

    description = "an OmDet-Turbo directory"
    settings_class = OmDetTurboSettings
    model_types = frozenset({"omdet-turbo"})
    min_score = 0.1
    starting_policy = MappingProxyType({"min_score": 0.3})
    scores_from = "threshold 0.3 of the processor in transformers; the floor is well below it"

    def make(self, settings: OmDetTurboSettings, options: LabelerOptions) -> Labeler:
        return OmDetTurboLabeler(settings, options, self.digest(settings))


def check_backbone(folder: Path) -> None:
    """Raise ConfigError for an image backbone of the package timm, as published directories have it, without timm."""
    from transformers import AutoConfig
    from transformers.utils.import_utils import is_timm_available

    backbone = AutoConfig.from_pretrained(folder, **TOKENIZER_OPTIONS).backbone_config
    if backbone.model_type == "timm_backbone" and not is_timm_available():
        raise ConfigError(
            f"{folder} has the image backbone {backbone.backbone} of the package timm, which is not installed; install "
            "timm (it needs a torchvision that fits the installed torch), or give a directory whose backbone is a "
            "model of transformers, such as swin"
        )


ENTRY = OmDetTurboTeacher()
