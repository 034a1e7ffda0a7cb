"""Try a teacher on one image: a table of the boxes of each phrase, and a picture of them."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from pydantic import Field

from engine.reading.captions import decode_caption
from engine.storage.local_files import replace_file
from pipelines.config.output_place import check_file
from pipelines.ground_image.images import InputImage, decode_input
from pipelines.ground_image.teacher import GroundingTeacher, open_teacher
from pipelines.labels.picture import draw_picture
from pipelines.report_base import Report, Table
from schemas.codes import PHRASE_CODES, SAMPLE_CODES
from schemas.errors import ConfigError, GroundswellError, SampleRejectedError
from schemas.records import Record
from schemas.rows import EvidenceRow
from schemas.spans import check_phrases, join_phrases
from teacher.settings import PhraseSettings

_MARK, _MARK_TEXT = "Software", "groundswell teacher try"
_USER_CODES = ("IMG_", "CAP_")
_HEADER = ("phrase", "score", "x0", "y0", "x1", "y1")


class ScoredBox(Record):
    """A box in half-open pixels of the upright image, with its raw score."""

    score: float
    x0: float
    y0: float
    x1: float
    y1: float


class AskedPhrase(Record):
    """A phrase with its boxes, the best first. `code` says why the teacher was not asked for it."""

    text: str
    root: str = Field("", description="lemma of its head noun")
    boxes: tuple[ScoredBox, ...] = ()
    code: str | None = None


class TrialReport(Report):
    """What a teacher says about one image."""

    model: str
    kind: str
    score_kind: str = Field(description="how the raw score is defined")
    min_score: float = Field(description="boxes with a lower score are left out")
    image: str
    width: int
    height: int
    caption: str
    phrases: tuple[AskedPhrase, ...]
    picture: str = Field(description="path of the picture")

    def tables(self) -> list[Table]:
        """Return the report as tables, in reading order."""
        rows = [row for phrase in self.phrases for row in _format_phrase(phrase)]
        title = f"{self.image} ({self.width} x {self.height} px), {self.kind}, {self.score_kind} >= {self.min_score:g}"
        return [Table(title, _HEADER, rows or [("no phrase was found in the caption", *[""] * 5)])]

    def text(self) -> str:
        """Return the table and where the picture is."""
        return f"{super().text()}\n\npicture: {self.picture}"


def _format_phrase(phrase: AskedPhrase) -> list[tuple[str, ...]]:
    if phrase.code is not None:
        return [(f"{phrase.text} (not asked: {PHRASE_CODES.get(phrase.code, phrase.code)})", *[""] * 5)]
    if not phrase.boxes:
        return [(f"{phrase.text} (no box)", *[""] * 5)]
    return [
        (phrase.text, f"{box.score:.3f}", *(f"{side:.1f}" for side in (box.x0, box.y0, box.x1, box.y1)))
        for box in phrase.boxes
    ]


def try_teacher(
    model: str,
    image: Path,
    caption: str | None,
    to: Path | None = None,
    *,
    phrases: Sequence[str] = (),
    kind: str | None = None,
    min_score: float | None = None,
    device: str | None = None,
    overrides: Sequence[str] = (),
    overwrite: bool = False,
) -> TrialReport:
    """Ask a teacher about one image, and write a picture of its boxes.

    caption:   whose phrases are asked; None: `phrases` are asked
    to:        the picture; None: named after the image, in the current folder
    overrides: `NAME=VALUE` of the teacher's settings
    overwrite: replace an earlier picture of this function
    raises:    ConfigError for an image or caption that cannot be used, and as `open_teacher` and `check_file`
    """
    text, spans, settings = _read_question(caption, phrases)
    to = to or Path(f"{image.stem}-boxes.png")
    if to.suffix.lower() != ".png":
        raise ConfigError(f"--to {to}: the picture is a PNG; expected a name that ends in .png")
    check_file("--to", str(to), overwrite=overwrite, reads=(image, model), is_own=_is_own_picture)
    try:
        pixels = decode_input(image)
    except SampleRejectedError as rejected:
        raise _explain(rejected, image) from rejected
    teacher = open_teacher(
        model,
        kind=kind,
        min_score=min_score,
        phrases=settings,
        values={} if device is None else {"device": device},
        overrides=overrides,
    )
    try:
        row = teacher.ground(image, text, spans=spans)
    except SampleRejectedError as rejected:
        raise _explain(rejected, image) from rejected
    replace_file(to, _draw_png(row, pixels.rgb_u8))
    return _make_report(model, image, teacher, row, pixels, to)


def _read_question(
    caption: str | None, phrases: Sequence[str]
) -> tuple[str, Sequence[tuple[int, int]], PhraseSettings]:
    if (caption is None) == (not phrases):
        raise ConfigError(
            'expected a caption or --phrases, not both; write e.g. "a dog in a red car", or --phrases "dog, red car"'
        )
    if caption is None:
        try:
            given = check_phrases(phrases)
        except ValueError as error:
            raise ConfigError(f"--phrases: {error}") from error
        return *join_phrases(given), PhraseSettings(given=given)
    try:
        return decode_caption(os.fsencode(caption)).text, (), PhraseSettings()
    except SampleRejectedError as rejected:
        raise ConfigError(
            f"the caption cannot be used: {_describe(rejected)}; write another one"
        ) from rejected


def _describe(rejected: SampleRejectedError) -> str:
    meaning = SAMPLE_CODES.get(rejected.code, "unknown code")
    return (
        f"{rejected.code}, {meaning} ({rejected.detail})"
        if rejected.detail
        else f"{rejected.code}, {meaning}"
    )


def _explain(rejected: SampleRejectedError, image: Path) -> GroundswellError:
    """Return the error for an image that cannot be used, or on which the teacher failed."""
    if rejected.code.startswith(_USER_CODES):
        return ConfigError(f"image {image} cannot be used: {_describe(rejected)}; give another image")
    return GroundswellError(
        f"the teacher failed on {image}: {_describe(rejected)}; try another image, or correct the teacher"
    )


def _draw_png(row: EvidenceRow, rgb_u8: NDArray[np.uint8]) -> bytes:
    """Return the picture with a mark in the file, by which a later call knows its own picture."""
    mark, sink = PngInfo(), io.BytesIO()
    mark.add_text(_MARK, _MARK_TEXT)
    draw_picture(row, rgb_u8).save(sink, "PNG", pnginfo=mark)
    return sink.getvalue()


def _is_own_picture(path: str) -> bool:
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return bool(picture.info.get(_MARK) == _MARK_TEXT)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError):
        return False


def _make_report(
    model: str, image: Path, teacher: GroundingTeacher, row: EvidenceRow, pixels: InputImage, to: Path
) -> TrialReport:
    height, width = pixels.rgb_u8.shape[:2]
    return TrialReport(
        model=model,
        kind=teacher.kind,
        score_kind=teacher.labeler.score_kind,
        min_score=teacher.settings.min_score,
        image=str(image),
        width=width,
        height=height,
        caption=row["caption"],
        phrases=tuple(_list_phrases(row)),
        picture=str(to),
    )


def _list_phrases(row: EvidenceRow) -> list[AskedPhrase]:
    """Return the phrases in the order of the caption's, then those that were found and not asked."""
    dropped = {(one["begin"], one["end"]): one["code"] for one in row["dropped_phrases"]}
    asked: list[AskedPhrase] = []
    for number, phrase in enumerate(row["phrases"]):
        regions = sorted(
            (one for one in row["regions"] if one["phrase"] == number), key=lambda one: -one["score"]
        )
        boxes = tuple(
            ScoredBox(score=one["score"], x0=one["x0"], y0=one["y0"], x1=one["x1"], y1=one["y1"])
            for one in regions
        )
        code = dropped.pop((phrase["begin"] or 0, phrase["end"] or 0), None)
        asked.append(AskedPhrase(text=phrase["text"], root=phrase["root"], boxes=boxes, code=code))
    left = [one for one in row["dropped_phrases"] if (one["begin"], one["end"]) in dropped]
    return asked + [AskedPhrase(text=one["text"], code=one["code"]) for one in left]
