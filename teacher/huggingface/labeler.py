"""A labeler around a model class of `transformers`: what all kinds do alike. A kind says how it asks and reads.

A sample's regions depend on the sample and on the batch size alone: an image is padded to a size that is a function of
its own, a text to a width that is a function of itself, and a batch is always full. Missing rows are blank.

Torch is imported only inside functions, because a kind's file is also read to list teachers and to check a job.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import numpy as np
import numpy.typing as npt

from schemas.boxes import as_boxes, clip
from schemas.errors import SampleRejectedError
from schemas.labeler import NeededSize, PreparedSample, find_stored_size
from schemas.records import Region, Sample
from teacher.huggingface.images import ImageRgb, ImageRules, Size, read_image_rules
from teacher.huggingface.loading import explain_load_errors, silence_transformers
from teacher.huggingface.running import choose_device, place_model, release_memory, run_model
from teacher.huggingface.settings import HuggingFaceSettings
from teacher.registry import LabelerOptions

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.floating]
Text = TypeVar("Text")
Features = TypeVar("Features")
S = TypeVar("S", bound=HuggingFaceSettings)


@dataclass(frozen=True)
class Question(Generic[Text]):
    """The phrases of a sample that are asked in one pass over its image."""

    phrases: tuple[int, ...]
    """Numbers of the phrases in the sample."""
    text: Text
    """What the kind's `answer` needs to ask for them."""


@dataclass(frozen=True)
class Questions(Generic[Text]):
    """All questions of a sample, the padded width of their texts, and (phrase number, code) of what cannot be asked."""

    questions: tuple[Question[Text], ...]
    width: int = 0
    dropped: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Found:
    """The boxes that a model found in one row, N candidates of any phrase."""

    scores_N: Floats
    """Raw scores, 0..1."""
    phrases_N: npt.NDArray[np.integer]
    """Positions in `Question.phrases`."""
    boxes_N4: Floats
    """xyxy as fractions of the box frame, normally the stored image, half-open. May reach beyond it."""
    class_scores_N: Floats | None = None
    qualities_N: Floats | None = None


@dataclass(frozen=True)
class LabelerInput(Generic[Text]):
    """A resized image, the size (height, width) of the stored one, and what is asked of it."""

    resized_rgb: ImageRgb
    stored_size: Size
    questions: tuple[Question[Text], ...]
    first_pass: int = 0


class HuggingFaceLabeler(ABC, Generic[S, Text, Features]):
    """`schemas.labeler.Labeler` and `DecoyLabeler` for one model directory."""

    score_kind: str
    """How the raw score is computed, such as `owlv2.sigmoid`."""

    def __init__(self, settings: S, options: LabelerOptions, digest: str) -> None:
        """Load the model onto its device. `settings.model` is a local directory."""
        self.digest = digest
        self.batch_size = options.batch_size
        self.settings, self.min_score = settings, options.min_score
        self.folder = Path(settings.model)
        self.needed_size: NeededSize | None = self.find_needed_size if settings.reduce_jpegs else None
        self.device = choose_device(settings.device)
        with silence_transformers(), explain_load_errors(self.folder):
            self.rules = self.read_rules()
            model = self.load_model()
        if settings.precision != "fp32":
            from teacher.huggingface.box_heads import keep_boxes_in_float32

            keep_boxes_in_float32(model)
        self.model = place_model(model, settings, self.device)

    @abstractmethod
    def load_model(self) -> torch.nn.Module:
        """Load the model of `self.folder` by `load_weights`, and what else the kind needs."""

    @abstractmethod
    def ask(self, sample: Sample) -> Questions[Text]:
        """Return the questions for all phrases of a sample."""

    @abstractmethod
    def ask_decoys(self, sample: Sample) -> Questions[Text]:
        """Return the questions for the decoys of a sample."""

    @abstractmethod
    def encode(self, images: Sequence[ImageRgb | None], size: Size) -> Features:
        """Return the features of a batch of resized images, padded to one size. Runs once for all passes."""

    @abstractmethod
    def answer(
        self, features: Features, questions: Sequence[Question[Text] | None], width: int
    ) -> list[Found]:
        """Return the boxes of each row. A row without a question is blank, and its answer is not read.

        Candidates below `self.min_score` may be left out. width: that of the batch's texts
        """

    def read_rules(self) -> ImageRules:
        """Return how images are resized and normalized."""
        return read_image_rules(self.folder)

    def resize(self, image_rgb_u8: ImageRgb, stored_size: Size | None = None) -> ImageRgb:
        """Return the resized image [h, w, 3]. It may come at a reduced scale of its stored size."""
        return self.rules.resize(image_rgb_u8, stored_size)

    def find_needed_size(self, stored_size: Size) -> Size | None:
        """Return the size of the model's input for an image, which is all that `resize` needs of it."""
        return self.rules.target_size(stored_size)

    def get_box_frame(self, stored_size: Size) -> Size:
        """Return what boxes are fractions of: (height, width) in pixels of the stored image, from the same corner."""
        return stored_size

    def prepare(self, sample: Sample, image_rgb_u8: ImageRgb) -> PreparedSample:
        """Return the resized image and the questions. A phrase that cannot be asked is in `dropped`."""
        return self._prepare(self.ask(sample), sample, image_rgb_u8, 0)

    def prepare_decoys(self, sample: Sample, image_rgb_u8: ImageRgb) -> PreparedSample:
        """Prepare for the decoys alone."""
        others = tuple(phrase for phrase in sample.phrases if phrase.kind != "decoy")
        first = len(self.ask(sample.model_copy(update={"phrases": others})).questions)
        prepared = self._prepare(self.ask_decoys(sample), sample, image_rgb_u8, first)
        return replace(prepared, second_pass=True)

    def _prepare(
        self, asked: Questions[Text], sample: Sample, image_rgb_u8: ImageRgb, first_pass: int
    ) -> PreparedSample:
        stored = find_stored_size(sample, image_rgb_u8, self.needed_size)
        resized = self.resize(image_rgb_u8, stored)
        padded = self.rules.compute_padded_size(
            (resized.shape[0], resized.shape[1]), self.settings.pad_multiple
        )
        return PreparedSample(
            bucket=(*padded, asked.width),
            inputs=LabelerInput(resized, stored, asked.questions, first_pass),
            dropped=asked.dropped,
            filled=resized.shape[0] * resized.shape[1] / (padded[0] * padded[1]),
        )

    def label(self, batch: Sequence[PreparedSample | None]) -> list[list[Region]]:
        """Return regions per row. A sample with several questions runs once for each, marked by `pass_index`."""
        rows: list[LabelerInput[Text] | None] = [None if item is None else item.inputs for item in batch]
        regions: list[list[Region]] = [[] for _ in rows]
        bucket = next((item.bucket for item in batch if item is not None), None)
        passes = max((len(row.questions) for row in rows if row is not None), default=0)
        if bucket is None or passes == 0:
            return regions
        height, width, text_width = bucket
        with run_model(self.device, self.settings.precision):
            features = self.encode(
                [None if row is None else row.resized_rgb for row in rows], (height, width)
            )
            for index in range(passes):
                asked = [_question_of(row, index) for row in rows]
                answers = self.answer(features, asked, text_width)
                for own, row, question, found in zip(regions, rows, asked, answers, strict=True):
                    if row is not None and question is not None:
                        frame = self.get_box_frame(row.stored_size)
                        own.extend(
                            _make_regions(found, question.phrases, row, index, self.min_score, frame=frame)
                        )
        return regions

    def close(self) -> None:
        """Release the accelerator's memory. The labeler cannot be used after that."""
        release_memory(self.model, self.device)

    def to_tensor(self, array: npt.NDArray[np.generic]) -> torch.Tensor:
        """Return an array as a tensor on the model's device, images with the channels last if the settings say so."""
        import torch

        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self.device)
        if self.settings.channels_last and tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        return tensor

    def normalize(self, images: Sequence[ImageRgb | None], size: Size) -> tuple[torch.Tensor, torch.Tensor]:
        """Return pixels [B, 3, H, W] and mask [B, H, W] on the model's device."""
        pixels, mask = self.rules.normalize(images, size)
        return self.to_tensor(pixels), self.to_tensor(mask)


def to_numpy(tensor: torch.Tensor) -> Floats:
    """Return a tensor as float32 on the CPU."""
    return cast("Floats", tensor.float().cpu().numpy())


def center_to_corners(boxes_N4: Floats) -> Floats:
    """Return boxes (center x, center y, width, height) as xyxy."""
    half_N2 = boxes_N4[..., 2:] / 2
    return np.concatenate([boxes_N4[..., :2] - half_N2, boxes_N4[..., :2] + half_N2], axis=-1)


def select_candidates(
    scores_QP: Floats, boxes_Q4: Floats, min_score: float, qualities_Q: Floats | None = None
) -> Found:
    """Return every (box, phrase) with enough score. Several phrases may share a box, and none takes another's.

    scores_QP: score of each of Q boxes for each of P phrases. A value that is not finite is kept, so that the caller
               sees it and rejects the sample.
    """
    boxes, phrases = np.nonzero(~(scores_QP < min_score))
    qualities_N = None if qualities_Q is None else qualities_Q[boxes]
    return Found(scores_QP[boxes, phrases], phrases, boxes_Q4[boxes], qualities_N=qualities_N)


def _question_of(row: LabelerInput[Text] | None, index: int) -> Question[Text] | None:
    return row.questions[index] if row is not None and index < len(row.questions) else None


def _make_regions(
    found: Found,
    phrases: Sequence[int],
    row: LabelerInput[Text],
    index: int,
    min_score: float,
    *,
    frame: Size,
) -> list[Region]:
    """Return the regions of one row: pixels of the stored image, clipped to it. Boxes outside the image are left out.

    raises: SampleRejectedError for a score or a box that is not finite, which would look like no box at all
    """
    values = (found.scores_N, found.boxes_N4, found.class_scores_N, found.qualities_N)
    if not all(np.isfinite(some).all() for some in values if some is not None):
        raise SampleRejectedError(
            "TEACHER_NONFINITE", "the model's scores or boxes hold values that are not finite"
        )
    height, width = row.stored_size
    scaled_N4 = as_boxes(found.boxes_N4.astype(np.float64)) * np.array([*frame[::-1], *frame[::-1]])
    boxes_N4 = clip(scaled_N4, width, height)
    inside_N = (boxes_N4[:, 2] > boxes_N4[:, 0]) & (boxes_N4[:, 3] > boxes_N4[:, 1])
    return [
        Region(
            phrase=phrases[int(found.phrases_N[n])],
            x0=float(boxes_N4[n, 0]),
            y0=float(boxes_N4[n, 1]),
            x1=float(boxes_N4[n, 2]),
            y1=float(boxes_N4[n, 3]),
            score=float(found.scores_N[n]),
            class_score=None if found.class_scores_N is None else float(found.class_scores_N[n]),
            quality=None if found.qualities_N is None else float(found.qualities_N[n]),
            pass_index=row.first_pass + index,
        )
        for n in np.flatnonzero(inside_N & (found.scores_N >= min_score))
    ]
