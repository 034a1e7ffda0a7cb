"""Run a teacher on one image: phrases of a caption become boxes, in the form of an evidence row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Self

from engine.reading.captions import clean_caption
from engine.reading.given_spans import parse_spans
from engine.worker.batching import label_in_batches
from engine.worker.evidence_rows import evidence_row, mark_dropped
from engine.worker.find_phrases import find_phrases
from engine.worker.region_filter import evidence_regions
from pipelines.config.load import parse_settings
from pipelines.ground_image.images import ImageInput, InputImage, decode_input
from schemas.errors import ConfigError, SampleRejectedError
from schemas.labeler import FoundPhrases, Labeler, PhraseFinder, get_needed_size
from schemas.records import Pixels, Region, Sample
from schemas.rows import EvidenceRow
from schemas.settings import EvidenceSettings
from teacher.models.hub import locate_model
from teacher.registry import TEACHERS, LabelerOptions, Teacher, TeacherSettings, recognize_model
from teacher.settings import PhraseSettings

UNIT = "one-image"
"""`unit` and `shard` of a row that no job made."""


@dataclass(frozen=True)
class GroundingTeacher:
    """A teacher with the phrase finder that reads captions for it."""

    labeler: Labeler
    finder: PhraseFinder
    settings: EvidenceSettings
    kind: str = ""
    """Name of the teacher in the registry, or `module:attribute`."""

    def close(self) -> None:
        """Release the memory of a GPU and open connections. The teacher cannot be used after that."""
        close: Callable[[], None] | None = getattr(self.labeler, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ground(
        self, image: ImageInput, caption: str, *, spans: Sequence[tuple[int, int]] = ()
    ) -> EvidenceRow:
        """Find the phrases of a caption in an image, as `groundswell label` does.

        image:  a path, the bytes of an image file, a Pillow image, or uint8 [height, width, 3] in RGB
        spans:  [begin, end) in characters of the caption: phrases to look for besides those that are found
        return: a row with the caption as `label` stores it (without control characters, at most 2,000 characters),
                phrases and regions; boxes are xyxy pixels of the upright image
        raises: SampleRejectedError for an image or a caption that cannot be used, with its reason code
        """
        pixels = decode_input(image, get_needed_size(self.labeler))
        stored = clean_caption(caption)
        given = parse_spans([list(span) for span in spans], stored)
        (found,) = find_phrases(self.finder, [stored.text], [given] if given else None)
        if isinstance(found, SampleRejectedError):
            raise found
        sample = _make_sample(pixels, stored.text, found)
        regions: tuple[Region, ...] = ()
        if sample.phrases:
            prepared = self.labeler.prepare(sample, pixels.rgb_u8)
            sample = mark_dropped(sample, prepared.dropped)
            (answer,) = label_in_batches(self.labeler, [(0, prepared)])
            if answer.rejected is not None:
                raise answer.rejected
            regions = answer.regions
        rows, truncated = evidence_regions(sample, regions, self.settings)
        return evidence_row(sample, rows, truncated)


def load_teacher(
    path: str | Path,
    *,
    kind: str | None = None,
    min_score: float | None = None,
    phrases: PhraseSettings | None = None,
    **settings: str | int | float | bool | None,
) -> GroundingTeacher:
    """Load a teacher by its model: a directory, a detector's `.onnx` file, or a hub id with its commit.

    `with`, or `close()`, frees its memory. On a CPU, torch uses one thread in the whole process from then on, as in
    labeling, because sums depend on it.

    kind:      name of a teacher in the registry, or `module:attribute` of your own. By default the files decide
    min_score: regions below this raw score are left out. By default the floor of the kind
    phrases:   how phrases are found in captions. By default with the bundled pipeline
    settings:  further settings of the teacher, as in the section `teacher` of a job, e.g. device="cpu"
    raises:    NotFoundError for a path that does not exist, ConfigError for what is not a model and for wrong settings
    """
    return open_teacher(path, kind=kind, min_score=min_score, phrases=phrases, values=settings)


def open_teacher(
    path: str | Path,
    *,
    kind: str | None = None,
    min_score: float | None = None,
    phrases: PhraseSettings | None = None,
    values: Mapping[str, str | int | float | bool | None] = MappingProxyType({}),
    overrides: Sequence[str] = (),
    batch_size: int = 1,
) -> GroundingTeacher:
    """Load a teacher as `load_teacher` does.

    values:    further settings of the teacher
    overrides: the same as `NAME=VALUE`; they replace equal names in `values`
    batch_size: rows of each batch
    """
    from teacher.phrases.finder import SpacyPhraseFinder

    settings, entry = choose_settings(path, kind, values, overrides)
    floor = entry.min_score if min_score is None else min_score
    found_by = phrases or PhraseSettings()
    options = LabelerOptions(batch_size, floor, has_guessed_heads=not found_by.has_parser)
    labeler = entry.make(settings, options)
    finder = SpacyPhraseFinder(found_by)
    return GroundingTeacher(labeler, finder, EvidenceSettings(min_score=floor), settings.kind)


def choose_settings(
    path: str | Path,
    kind: str | None,
    values: Mapping[str, str | int | float | bool | None] = MappingProxyType({}),
    overrides: Sequence[str] = (),
) -> tuple[TeacherSettings, Teacher[TeacherSettings]]:
    """Return the settings of a teacher for a model, and its entry. The parameters are those of `open_teacher`."""
    model = str(path)
    if kind is None:
        model = locate_model(model)
        kind, entry = recognize_model(Path(model))
    else:
        entry = TEACHERS.load(kind)
        model = locate_model(model) if entry.settings_class.model_is_path else model
    if unknown := next((name for name in values if name not in entry.settings_class.model_fields), None):
        known = sorted(entry.settings_class.model_fields.keys() - {"kind", "model"})
        raise ConfigError(
            f"teacher.{unknown} is {values[unknown]!r}, but the kind {kind} has no such setting; expected one of "
            f"{', '.join(known)}; leave it out"
        )
    settings = parse_settings(
        {"kind": kind, "model": model, **values}, entry.settings_class, overrides, "teacher"
    )
    return settings, entry


def _make_sample(image: InputImage, caption: str, found: FoundPhrases) -> Sample:
    height, width = image.size
    return Sample(
        unit=UNIT,
        shard=image.path or UNIT,
        index=0,
        key=Path(image.path).stem or UNIT,
        pixels=Pixels(url=image.path),
        image_sha256=image.sha256,
        caption=caption,
        width=width,
        height=height,
        exif_orientation=image.exif_orientation,
        phrases=found.phrases,
        dropped_phrases=found.dropped,
    )
