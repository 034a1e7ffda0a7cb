"""The teacher `sam3`: SAM 3 and SAM 3 LiteText box all instances of one phrase at a time.

The model answers two questions for a phrase: is it in the image at all (presence), and which of the box queries show
it. `score` is the product of both, `class_score` that of the box alone, and `quality` the presence.

The image is encoded once. Every phrase is a row of its own that reuses the image's features, so a phrase's regions do
not depend on the other phrases. Rows of all samples in a batch run in chunks of `batch_size` rows, the last one filled
up with blank rows.

Boxes only: masks are not kept. No policy, trainer or exporter reads masks, and a mask per region would be most of the
evidence's bytes. The mask decoder is therefore not run, which also spares the two largest feature maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from pydantic import Field

from schemas.errors import ConfigError
from schemas.labeler import Labeler
from schemas.records import Sample
from teacher.huggingface.entry import HuggingFaceTeacher
from teacher.huggingface.images import ImageRgb, ImageRules, Size, read_stretch_rules
from teacher.huggingface.labeler import (
    Floats,
    Found,
    HuggingFaceLabeler,
    Question,
    Questions,
    to_numpy,
)
from teacher.huggingface.loading import count_positions, load_weights
from teacher.huggingface.model_files import find_model_type, read_image_settings
from teacher.huggingface.settings import HuggingFaceSettings
from teacher.huggingface.text_ids import TextIds, TextTokenizer
from teacher.registry import LabelerOptions

if TYPE_CHECKING:
    import torch
    from transformers import Sam3Model
    from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

_MAX_TOKENS = 32
"""Tokens to which the published processor pads a phrase. It does not cut, and the model has no more positions."""
_MEAN = _STD = (0.5, 0.5, 0.5)
_LITE, _VIDEO = "sam3_lite_text", "sam3_video"


class Sam3Settings(HuggingFaceSettings):
    """A SAM 3 directory as teacher."""

    kind: Literal["sam3"] = Field("sam3", description="a SAM 3 or SAM 3 LiteText directory")


class Sam3Labeler(HuggingFaceLabeler[Sam3Settings, tuple[TextIds, ...], "Sam3VisionEncoderOutput"]):
    """Asks a SAM 3 model. A question has all phrases of a sample."""

    score_kind = "sam3.box*presence"

    def read_rules(self) -> ImageRules:
        rules = read_stretch_rules(self.folder)
        given = "image_mean" in read_image_settings(self.folder)
        return rules if given else replace(rules, mean=_MEAN, std=_STD)

    def load_model(self) -> torch.nn.Module:
        from transformers import Sam3LiteTextModel, Sam3Model

        lite = find_model_type(self.folder) == _LITE
        # the published directory has the config of the video model, with this model as its detector
        model = cast("Sam3Model", load_weights(Sam3LiteTextModel if lite else Sam3Model, self.folder))
        self._check_size(model.config.image_size)
        remove_mask_decoder(model)
        if self.settings.compile:
            model.vision_encoder.compile()
        self._parts = model
        self._tokenizer = TextTokenizer(self.folder, min(_MAX_TOKENS, count_positions(model)))
        return model

    def _check_size(self, side: int | Sequence[int]) -> None:
        expected = (side, side) if isinstance(side, int) else tuple(side)
        if self.rules.exact != expected:
            raise ConfigError(
                f"{self.folder}: its image settings make images of {self.rules.exact} (height, width), and its model "
                f"expects {expected}; correct `size` in the image settings"
            )

    def ask(self, sample: Sample) -> Questions[tuple[TextIds, ...]]:
        return self._ask(sample, range(len(sample.phrases)))

    def ask_decoys(self, sample: Sample) -> Questions[tuple[TextIds, ...]]:
        return self._ask(sample, [n for n, phrase in enumerate(sample.phrases) if phrase.kind == "decoy"])

    def _ask(self, sample: Sample, numbers: Sequence[int]) -> Questions[tuple[TextIds, ...]]:
        found = {number: self._tokenizer.tokenize(sample.phrases[number].text) for number in numbers}
        fitting = {number: ids for number, (ids, problem) in found.items() if problem is None}
        dropped = [(number, problem) for number, (_, problem) in found.items() if problem is not None]
        questions = (Question(tuple(fitting), tuple(fitting.values())),) if fitting else ()
        return Questions(questions, self._tokenizer.limit, tuple(dropped))

    def encode(self, images: Sequence[ImageRgb | None], size: Size) -> Sam3VisionEncoderOutput:
        pixels, _ = self.normalize(images, size)
        features: Sam3VisionEncoderOutput = self._parts.get_vision_features(pixel_values=pixels)
        return features

    def answer(
        self,
        features: Sam3VisionEncoderOutput,
        questions: Sequence[Question[tuple[TextIds, ...]] | None],
        width: int,
    ) -> list[Found]:
        rows = [
            (image, text)
            for image, question in enumerate(questions)
            if question is not None
            for text in question.text
        ]
        size = len(questions)
        blank = (0, self._tokenizer.blank)
        parts = []
        for begin in range(0, len(rows), size):
            chunk = rows[begin : begin + size]
            parts.append(self._run_chunk(features, [*chunk, *[blank] * (size - len(chunk))], width))
        scores, presences, boxes = (np.concatenate(part) for part in zip(*parts, strict=True))
        images = np.array([image for image, _ in rows])
        return [
            self._read(*(part[: len(rows)][images == image] for part in (scores, presences, boxes)))
            for image in range(size)
        ]

    def _run_chunk(
        self, features: Sam3VisionEncoderOutput, rows: Sequence[tuple[int, TextIds]], width: int
    ) -> tuple[Floats, Floats, Floats]:
        """Return box scores [R, Q], presence [R, 1] and boxes xyxy [R, Q, 4] of R rows (image, text)."""
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        images = self.to_tensor(np.array([image for image, _ in rows]))
        ids, mask = self._tokenizer.pad([text for _, text in rows], width)
        # the model drops the last map and detects on the one before; only masks use the larger ones
        own = Sam3VisionEncoderOutput(
            fpn_hidden_states=tuple(level[images] for level in features.fpn_hidden_states[-2:]),
            fpn_position_encoding=tuple(level[images] for level in features.fpn_position_encoding[-2:]),
        )
        outputs = self.model(
            vision_embeds=own, input_ids=self.to_tensor(ids), attention_mask=self.to_tensor(mask)
        )
        scores = to_numpy(outputs.pred_logits.float().sigmoid())
        return scores, to_numpy(outputs.presence_logits.float().sigmoid()), to_numpy(outputs.pred_boxes)

    def _read(self, box_scores_PQ: Floats, presences_P1: Floats, boxes_PQ4: Floats) -> Found:
        scores_PQ = box_scores_PQ * presences_P1
        phrases, queries = np.nonzero(~(scores_PQ < self.min_score))
        return Found(
            scores_PQ[phrases, queries],
            phrases,
            boxes_PQ4[phrases, queries],
            class_scores_N=box_scores_PQ[phrases, queries],
            qualities_N=presences_P1[phrases, 0],
        )


class Sam3Teacher(HuggingFaceTeacher[Sam3Settings]):
    """A directory of SAM 3, of its video model, or of SAM 3 LiteText."""

    description = "a SAM 3 directory"
    settings_class = Sam3Settings
    model_types = frozenset({"sam3", _VIDEO, _LITE})
    min_score = 0.1
    starting_policy = MappingProxyType({"min_score": 0.5})
    scores_from = (
        "score_threshold_detection 0.5 of the published video model (0.3 is the default of its image processor); the "
        "floor is well below both"
    )

    def make(self, settings: Sam3Settings, options: LabelerOptions) -> Labeler:
        return Sam3Labeler(settings, options, self.digest(settings))


def remove_mask_decoder(model: Sam3Model) -> None:
    """Replace the mask decoder by one that does nothing."""
    import torch
    from transformers.models.sam3.modeling_sam3 import Sam3MaskDecoderOutput

    class NoMasks(torch.nn.Module):
        def forward(self, **inputs: object) -> Sam3MaskDecoderOutput:
            return Sam3MaskDecoderOutput()

    model.add_module("mask_decoder", NoMasks())


ENTRY = Sam3Teacher()
