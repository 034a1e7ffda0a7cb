"""Rows of detection labels: what the formats share once a file's images and objects are read.

Every class that the source looked for and did not box in an image is absent there. A class of which an object was
refused is unknown: unresolved, never absent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pydantic import JsonValue

from pipelines.exchange.gold.box_frames import Frame, make_frame
from pipelines.exchange.gold.category_prompt import UnknownClasses, build_prompt, draw_names
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.gold.records import check_split
from pipelines.exchange.gold.rows import GoldPhrase, RowBuilder
from pipelines.exchange.gold.scores import BoxScores
from schemas.errors import ConfigError
from schemas.rows import ViewRow
from student.gold.account import ImportAccount, RecordError, code_of_contents
from student.gold.boxes import BoxConvention, read_box
from student.gold.class_names import (
    QuestionableName,
    find_questionable_names,
    merge_names,
    refuse_special_token,
)
from student.gold.plausibility import BoxSurvey
from student.gold.sizes import read_size


@dataclass(frozen=True)
class LabeledObject:
    """One object of an image, unchecked.

    where:      its place in the file, for the account
    name:       of its class; None if it names none that is known
    bbox:       four numbers in the format's convention
    refused:    why it cannot be used, whatever its box is
    is_ignored: it is there, but not a box to learn from
    """

    where: str
    name: str | None
    bbox: JsonValue
    score: JsonValue = None
    refused: RecordError | None = None
    is_ignored: bool = False


@dataclass(frozen=True)
class LabeledImage:
    """An image and its objects, unchecked.

    record:  `width` and `height`, if the file has them, and what a pattern of --images may name
    refused: why its labels cannot be read
    meta:    what the rows keep of it
    """

    file_name: str
    objects: Sequence[LabeledObject] = ()
    record: Mapping[str, JsonValue] = field(default_factory=dict)
    refused: RecordError | None = None
    meta: Mapping[str, object] = field(default_factory=dict)


class DetectionReader(ABC):
    """Rows of a detection format. A subclass reads classes and images of its files, each time anew."""

    usual = BoxConvention("xyxy")
    states_sizes = True  # whether the format has a place for the size of an image
    source_ids = ()
    problems: Sequence[str] = ()

    def __init__(self, path: Path, options: ImportOptions, account: ImportAccount) -> None:
        self._path, self._options, self._account = path, options, account
        self._stated = options.state_convention(self.usual)
        self._convention = self._stated or self.usual
        self.exhaustive = options.origin == "human"
        self.facts: dict[str, object] = {}
        self.questionable_names: list[QuestionableName] = []

    @property
    def category_ids(self) -> dict[str, str]:
        """The class's name by the id that results have for it: its index, or its name where the format has none."""
        return {name: self._merged[name] for name in self.read_classes()}

    @abstractmethod
    def read_classes(self) -> Sequence[str]:
        """Return the names of the classes that were looked for in every image, as the file writes them."""

    @abstractmethod
    def read_images(self) -> Iterator[LabeledImage]:
        """Yield the images in the file's order."""

    def rows(self) -> Iterator[ViewRow]:
        """Yield one row per image, in order.

        Raises ConfigError for a class name that a text model takes for a special token, and for boxes of another
        convention.
        """
        self._read_all()
        builder = RowBuilder(self._options.images_url)
        for image in self.read_images():
            self._account.count("images")
            self._account.count("objects", len(image.objects))
            decided = self._account.count_decided("objects")
            try:
                row = self._build_row(builder, image)
            except RecordError as refused:
                left = len(image.objects) - (self._account.count_decided("objects") - decided)
                self._account.refuse("images", image.file_name, refused.code, refused.detail)
                self._account.refuse("objects", image.file_name, code_of_contents(refused), number=left)
            else:
                yield row
        self.facts |= {"scores": self._scores.number} if self._scores.has_scores else {}

    def _read_all(self) -> None:
        """Read everything once, for what it says together."""
        survey, used, has_scores = BoxSurvey(self._convention), set(), False
        for image in self.read_images():
            size = None
            with suppress(RecordError):
                size = read_size(image.record, set())
            for one in image.objects:
                has_scores = has_scores or one.score is not None
                used.add(one.name)
                if size is not None:
                    survey.add(one.bbox, *size)
                elif self._convention.unit == "fraction":
                    survey.add(one.bbox, 1, 1)
        problem = None if self._stated is not None else survey.describe_problem()
        if problem is not None:
            raise ConfigError(f"{self._path}: {problem}")
        names = self.read_classes()
        for name in names:
            refuse_special_token(name, f"{self._path}: the class name {name!r}")
        self._scores = BoxScores(self._options, has_scores=has_scores)
        self._merged = merge_names(names, by_case=self._options.merge_names)
        self._all = list(dict.fromkeys(self._merged.values()))
        self.questionable_names = [
            one
            for one in find_questionable_names(list(names), {name for name in used if name})
            if one.reason != "case_twin" or not self._options.merge_names
        ]
        self._not_asked = {self._merged[one.name] for one in self.questionable_names}
        self.facts |= {"categories": len(names), "names": len(self._all)}

    def _build_row(self, builder: RowBuilder, image: LabeledImage) -> ViewRow:
        if image.refused is not None:
            raise image.refused
        check_split(self._options, image.file_name)
        frame = self._make_frame(image)
        positives, refused = self._read_objects(image, frame)
        caption, phrases = self._build_prompt(image, positives, refused)
        if not phrases:
            raise RecordError("nothing_to_learn", image.file_name)
        unknown = [phrase for phrase in phrases if phrase.unknown]
        self._account.add_unknown(len(unknown))
        partly = [p.root for p in unknown if p.boxes or p.ignored or p.root in self._not_asked]
        repairs = frame.repairs if self.states_sizes else ()
        self._account.keep("images", image.file_name, repairs)
        meta = {
            "image_id": _find_image_id(image.file_name),
            **image.meta,
            **({"not_exhaustive": partly} if partly else {}),
        }
        return builder.build(frame, image.file_name, caption, phrases, meta=meta)

    def _make_frame(self, image: LabeledImage) -> Frame:
        """Return the frame of the boxes. Without an image, fractions stay in a frame of one by one pixel."""
        if self._options.images is None and self._convention.unit == "fraction":
            return make_frame({"width": 1, "height": 1, **image.record}, image.file_name, None)
        return make_frame(image.record, image.file_name, self._options.images)

    def _read_objects(
        self, image: LabeledImage, frame: Frame
    ) -> tuple[dict[str, GoldPhrase], UnknownClasses]:
        found: dict[str, GoldPhrase] = {}
        unknown = UnknownClasses()
        for one in image.objects:
            repairs: set[str] = set()
            name = None if one.name is None else self._merged.get(one.name)
            try:
                if one.refused is not None:
                    raise one.refused
                if name is None:
                    raise RecordError("category_unknown", f"{one.name!r}")
                box = frame.place(read_box(one.bbox, self._convention, frame.width, frame.height, repairs))
                score = self._scores.read(one.score)
            except RecordError as refused:
                self._account.refuse("objects", one.where, refused.code, refused.detail)
                unknown.add(name)
                continue
            phrase = found.setdefault(name, GoldPhrase(0, 0, name))
            phrase.add_box(box, score, is_ignored=one.is_ignored)
            self._account.keep("objects", one.where, repairs)
        return found, unknown

    def _build_prompt(
        self, image: LabeledImage, positives: Mapping[str, GoldPhrase], refused: UnknownClasses
    ) -> tuple[str, list[GoldPhrase]]:
        unknown = refused.names | refused.select([*self._all, *positives])
        if self._options.origin == "teacher":  # a tool does not say what it looked for in vain
            unknown = refused.names | refused.select(positives)
            return build_prompt(
                [name for name in self._all if name in positives.keys() | unknown], positives, (), unknown
            )
        absent = set(self._all) - positives.keys() - unknown - self._not_asked
        order = self._all
        if self._options.negatives == "authors":
            drawn = [name for name in self._all if name in absent]
            order = draw_names(drawn, list(positives), self._options.seed, image.file_name)
            order += [name for name in self._all if name not in absent and name not in positives]
        return build_prompt(order, positives, absent, unknown)


def _find_image_id(file_name: str) -> int | str:
    """Return the id that results of such formats have for an image: its stem, as a number if it is one."""
    stem = PurePosixPath(file_name).stem
    return int(stem) if stem.isascii() and stem.isdecimal() and len(stem) < 19 else stem
