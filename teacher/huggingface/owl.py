"""What the teachers `owlv2` and `owlvit` share: each phrase is a query of its own.

The score of a phrase in a box is `sigmoid(logit)` of its own query. The labels of transformers'
`post_process_grounded_object_detection` are not used: they give each box to its best query, so of two phrases for one
object one would get nothing.

Nothing about a phrase depends on others: its text is encoded alone, at the model's full width, and kept.
"""

# B rows, N boxes, P phrases of a question, Q queries, E width of the query features
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, ClassVar, Generic, TypeVar, cast

from pydantic import AfterValidator, Field, JsonValue

from schemas.errors import ConfigError
from schemas.records import Sample
from teacher.huggingface.images import ImageRgb, ImageRules, Size, read_image_rules
from teacher.huggingface.labeler import (
    Floats,
    Found,
    HuggingFaceLabeler,
    Question,
    Questions,
    center_to_corners,
    select_candidates,
    to_numpy,
)
from teacher.huggingface.loading import count_positions, load_weights
from teacher.huggingface.model_files import read_image_settings
from teacher.huggingface.settings import HuggingFaceSettings
from teacher.huggingface.text_ids import PLACE, TextIds, TextTokenizer, check_template

if TYPE_CHECKING:
    import torch
    from transformers import Owlv2ForObjectDetection, OwlViTForObjectDetection, PreTrainedModel

    from teacher.huggingface.owl_parts import OwlParts

QUERIES = 32
"""Queries of one question. More phrases are asked in several questions, fewer are filled up with blank queries."""
CACHED_TEXTS = 8192
"""Texts whose features are kept: 16 MB for the published models."""
CLIP_RULES: Mapping[str, JsonValue] = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
"""The image settings that both image processors have when their file does not say."""

Texts = tuple[TextIds, ...]


class OwlSettings(HuggingFaceSettings):
    """Settings of a teacher that reads each phrase as a query."""

    template: Annotated[str, AfterValidator(check_template)] = Field(
        PLACE,
        description="the text of a query, with {} in place of the phrase. The default asks for the phrase as it is in "
        "the caption; 'a photo of a {}' is how the published examples ask for class names",
    )


@dataclass(frozen=True)
class OwlFeatures:
    """What the model found in a batch of images before it was asked."""

    patches_BND: torch.Tensor
    boxes_BN4: Floats
    """xyxy as fractions of the model's input."""
    qualities_BN: Floats | None


S = TypeVar("S", bound=OwlSettings)


class OwlLabeler(HuggingFaceLabeler[S, Texts, OwlFeatures], Generic[S]):
    """Asks OWL-ViT or OWLv2. A kind says how images are resized and which frame the boxes are in."""

    model_type: ClassVar[str]
    """`model_type` in config.json."""
    image_defaults: ClassVar[Mapping[str, JsonValue]]
    """Image settings of the kind's processor that its file may leave out."""
    image_switches: ClassVar[Mapping[str, bool]]
    """Steps of the kind's processor, and whether this labeler takes them. Other settings are refused."""

    model: OwlParts

    def load_model(self) -> torch.nn.Module:
        from transformers import AutoModelForZeroShotObjectDetection

        from teacher.huggingface.owl_parts import OwlParts

        detector = load_weights(
            cast("type[PreTrainedModel]", AutoModelForZeroShotObjectDetection), self.folder
        )
        self._check_size(int(detector.config.vision_config.image_size))
        self._tokenizer = TextTokenizer(
            self.folder, count_positions(detector), template=self.settings.template, special_words="drop"
        )
        self._encode_text = lru_cache(maxsize=CACHED_TEXTS)(self._encode_text_anew)
        return OwlParts(cast("Owlv2ForObjectDetection | OwlViTForObjectDetection", detector))

    def read_rules(self) -> ImageRules:
        values = read_image_settings(self.folder)
        for name, expected in self.image_switches.items():
            if values.get(name) not in (None, expected):
                raise ConfigError(
                    f"{self.folder}: its image settings have {name}: {values[name]!r}, expected {expected}; this "
                    "teacher reads images only as the published models do"
                )
        return read_image_rules(self.folder, self.image_defaults)

    def _check_size(self, side: int) -> None:
        if self.rules.exact != (side, side):
            raise ConfigError(
                f"{self.folder}: its image settings resize to {self.rules.exact} (height, width) and config.json says "
                f"{side} x {side}; copy both files from the same model"
            )

    def ask(self, sample: Sample) -> Questions[Texts]:
        return self._make_questions(sample, is_decoy=(False, True))

    def ask_decoys(self, sample: Sample) -> Questions[Texts]:
        return self._make_questions(sample, is_decoy=(True,))

    def _make_questions(self, sample: Sample, is_decoy: Sequence[bool]) -> Questions[Texts]:
        """Return questions for the phrases that are decoys or are not. The two never share a question."""
        questions: list[Question[Texts]] = []
        dropped: list[tuple[int, str]] = []
        for wanted in is_decoy:
            texts: dict[int, TextIds] = {}
            for number, phrase in enumerate(sample.phrases):
                if (phrase.kind == "decoy") is not wanted:
                    continue
                ids, problem = self._tokenizer.tokenize(phrase.text)
                if problem is None:
                    texts[number] = ids
                else:
                    dropped.append((number, problem))
            numbers = tuple(texts)
            for first in range(0, len(numbers), QUERIES):
                own = numbers[first : first + QUERIES]
                questions.append(Question(own, tuple(texts[number] for number in own)))
        return Questions(tuple(questions), dropped=tuple(sorted(dropped)))

    def encode(self, images: Sequence[ImageRgb | None], size: Size) -> OwlFeatures:
        pixels, _ = self.normalize(images, size)
        parts = self.model(pixels)
        objectness = parts.objectness_BN
        return OwlFeatures(
            parts.patches_BND,
            center_to_corners(to_numpy(parts.boxes_BN4)),
            None if objectness is None else to_numpy(objectness.sigmoid()),
        )

    def answer(
        self, features: OwlFeatures, questions: Sequence[Question[Texts] | None], width: int
    ) -> list[Found]:
        import torch

        rows = [self._stack_queries(() if question is None else question.text) for question in questions]
        scores_BNQ = to_numpy(self.model.score(features.patches_BND, torch.stack(rows)))
        return [
            self._read(question, features, row, scores_BNQ[row]) for row, question in enumerate(questions)
        ]

    def _stack_queries(self, texts: Texts) -> torch.Tensor:
        """Return the features [Q, E] of texts. The number is fixed, so that no sum depends on other samples' texts."""
        import torch

        own = [self._encode_text(ids) for ids in texts]
        blank = torch.zeros(self._count_features(), device=self.device)
        return torch.stack([*own, *[blank] * (QUERIES - len(own))])

    def _count_features(self) -> int:
        return int(self.model.detector.config.projection_dim)

    def _encode_text_anew(self, ids: TextIds) -> torch.Tensor:
        """Return the features [E] of a text. It is encoded alone, so that it has the same bits in every batch."""
        padded, mask = self._tokenizer.pad([ids], self._tokenizer.limit)
        return self.model.encode_texts(self.to_tensor(padded), self.to_tensor(mask))[0]

    def _read(
        self, question: Question[Texts] | None, features: OwlFeatures, row: int, scores_NQ: Floats
    ) -> Found:
        """Return the boxes of a row. The columns of blank queries are not read, so that none can win."""
        scores_NP = scores_NQ[:, : 0 if question is None else len(question.phrases)]
        qualities = None if features.qualities_BN is None else features.qualities_BN[row]
        return select_candidates(scores_NP, features.boxes_BN4[row], self.min_score, qualities)

    def close(self) -> None:
        self._encode_text.cache_clear()
        super().close()
