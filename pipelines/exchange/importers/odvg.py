"""ODVG lines in their three dialects: Open-GroundingDino, MMDetection and NVIDIA TAO. One row per line.

The dialects differ in the image's key, in whether a region has a span, and in whether it has one box or several. A
phrase without a span is searched in the caption. The well-known loader joins phrases by their text instead, so the same
words at two places become one phrase. A class of which an instance was refused is unknown in that image: unresolved,
never absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from itertools import product
from pathlib import Path

from pydantic import JsonValue

from pipelines.exchange.gold.box_frames import Frame, make_frame
from pipelines.exchange.gold.category_prompt import (
    UnknownClasses,
    build_prompt,
    draw_names,
)
from pipelines.exchange.gold.file_marks import has_objects_with
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.gold.records import check_split, get_phrase, read_caption
from pipelines.exchange.gold.rows import GoldPhrase, RowBuilder
from pipelines.exchange.gold.scores import BoxScores
from pipelines.exchange.importer import Importer, ImportOption
from schemas.errors import ConfigError, SampleRejectedError
from schemas.rows import ViewRow
from student.gold.account import ImportAccount, RecordError, code_of_contents, is_encodable
from student.gold.boxes import Box, BoxConvention, read_box
from student.gold.class_names import (
    QuestionableName,
    find_questionable_names,
    find_special_token,
    is_readable,
    normalize_name,
)
from student.gold.coco.store import id_text
from student.gold.json_stream import iter_lines
from student.gold.label_map import read_label_map
from student.gold.off_by_one import OffByOneCheck
from student.gold.plausibility import BoxSurvey
from student.gold.sizes import read_size
from student.gold.spans import Span, find_phrase, read_spans

_IMAGE_KEYS = {"open_gd": "filename", "mmdet": "filename", "tao": "file_name"}
_BOXES = BoxConvention("xyxy")
_SCORE = re.compile(r"\s*\([01]?\.\d\d\)$")


class OdvgReader:
    """Rows of a file of lines, detection and grounding mixed.

    The gold is exhaustive if a label map names the classes that were looked for.
    """

    category_ids = None
    source_ids = ()

    def __init__(self, path: Path, options: ImportOptions, account: ImportAccount) -> None:
        self._path, self._options, self._account = path, options, account
        self._labels = None if options.label_map is None else read_label_map(options.label_map)
        self._all = [] if self._labels is None else list(dict.fromkeys(self._labels.values()))
        self.exhaustive = self._labels is not None
        self.facts = {"detection": 0, "grounding": 0}
        self._off_by_one = OffByOneCheck(self._labels or {})
        self._stated = options.state_convention(_BOXES)
        self._convention = self._stated or _BOXES
        self.questionable_names: list[QuestionableName] = []

    def rows(self) -> Iterator[ViewRow]:
        """Yield one row per line, in order. Raises NotFoundError; ConfigError for boxes of another convention."""
        self._read_all()
        builder = RowBuilder(self._options.images_url)
        for number, line in iter_lines(self._path):
            self._account.count("lines")
            inside = self._list_regions(line)
            self._account.count("regions", len(inside))
            decided = self._account.count_decided("regions")
            try:
                if isinstance(line, SampleRejectedError):
                    raise RecordError("json_bad", line.detail)
                if not is_encodable(line):
                    raise RecordError("value_bad")
                row = self._build_row(builder, line, number)
            except RecordError as refused:
                left = len(inside) - (self._account.count_decided("regions") - decided)
                self._account.refuse("lines", f"line {number}", refused.code, refused.detail)
                self._account.refuse("regions", f"line {number}", code_of_contents(refused), number=left)
            else:
                yield row
        self.facts |= {"scores": self._scores.number} if self._scores.has_scores else {}

    def _read_all(self) -> None:
        """Read all lines once, for what they say together."""
        survey, used, has_scores = BoxSurvey(self._convention), set(), False
        for _, line in iter_lines(self._path):
            for value in self._list_regions(line):
                item = value if isinstance(value, dict) else {}
                has_scores = has_scores or _find_score(item) is not None
                used.add((self._labels or {}).get(id_text(item.get("label")) or ""))
                with suppress(RecordError):
                    size = None if isinstance(line, SampleRejectedError) else read_size(line, set())
                    boxes = [] if size is None else _list_boxes(item.get("bbox"))
                    for box in boxes:
                        survey.add(box, *(size or (0, 0)))
        self._scores = BoxScores(self._options, has_scores=has_scores)
        problem = None if self._stated is not None else survey.describe_problem()
        if problem is not None:
            raise ConfigError(f"{self._path}: {problem}")
        self.questionable_names = find_questionable_names(self._all, {name for name in used if name})

    def _read_box(self, value: JsonValue, frame: Frame, repairs: set[str]) -> Box:
        return frame.place(read_box(value, self._convention, frame.width, frame.height, repairs))

    @property
    def problems(self) -> list[str]:
        """Reasons why the gold cannot be used: a label map that is off by one."""
        found = self._off_by_one.describe_problem()
        return [] if found is None else [f"--label-map {self._options.label_map}: {found}"]

    @staticmethod
    def _list_regions(line: Mapping[str, JsonValue] | SampleRejectedError) -> list[JsonValue]:
        if isinstance(line, SampleRejectedError):
            return []
        for part, field in (("detection", "instances"), ("grounding", "regions")):
            content = line.get(part)
            items = content.get(field) if isinstance(content, dict) else None
            if isinstance(items, list):
                return list(items)
        return []

    def _build_row(self, builder: RowBuilder, line: Mapping[str, JsonValue], number: int) -> ViewRow:
        name = self._find_image_name(line)
        check_split(self._options, name)
        frame = make_frame(line, name, self._options.images)
        contents = {kind: line.get(kind) for kind in ("detection", "grounding")}
        found = [(kind, content) for kind, content in contents.items() if isinstance(content, dict)]
        if len(found) != 1:
            raise RecordError("field_missing", "expected one of detection and grounding, as an object")
        [(kind, content)] = found
        make = self._read_detection if kind == "detection" else self._read_grounding
        caption, phrases, repairs = make(content, frame, name, number)
        self.facts[kind] += 1
        self._account.keep("lines", f"line {number}", (*frame.repairs, *repairs))
        not_asked = {one.name for one in self.questionable_names}
        partly = [p.root for p in phrases if p.unknown and (p.boxes or p.root in not_asked)]
        known = {"not_exhaustive": partly} if kind == "detection" and partly else {}
        return builder.build(frame, name, caption, phrases, meta={"line": number, **known})

    def _find_image_name(self, line: Mapping[str, JsonValue]) -> str:
        wanted = self._options.dialect
        keys = ("filename", "file_name") if wanted == "auto" else (_IMAGE_KEYS[wanted],)
        name = next((line[key] for key in keys if isinstance(line.get(key), str) and line[key]), None)
        if name is None:
            raise RecordError("field_missing", f"{' or '.join(keys)} of the image")
        return str(name)

    def _read_detection(
        self, content: Mapping[str, JsonValue], frame: Frame, name: str, number: int
    ) -> tuple[str, list[GoldPhrase], tuple[str, ...]]:
        positives: dict[str, GoldPhrase] = {}
        refused_of = UnknownClasses()
        for place, value in enumerate(_check_list(content, "instances")):
            repairs: set[str] = set()
            category = None
            try:
                item = _check_object(value)
                category = self._find_category(item, repairs)
                box = self._read_box(item.get("bbox"), frame, repairs)
                score = self._scores.read(item.get("score"))
            except RecordError as refused:
                where = f"line {number} instance {place}"
                self._account.refuse("regions", where, refused.code, refused.detail)
                refused_of.add(category)
                continue
            positives.setdefault(category, GoldPhrase(0, 0, category)).add_box(box, score)
            self._account.keep("regions", f"line {number} instance {place}", repairs)
        if self._options.origin == "teacher":  # a tool does not say what it looked for in vain
            unknown = refused_of.names | refused_of.select(positives)
            if not positives and not unknown:
                raise RecordError("nothing_to_learn", name)
            return *build_prompt(sorted(positives.keys() | unknown), positives, (), unknown), ()
        classes = self._vocabulary if refused_of.every_class else self._all
        unknown = refused_of.names | refused_of.select([*classes, *positives])
        not_asked = {one.name for one in self.questionable_names} - positives.keys()
        absent = set(self._all) - positives.keys() - unknown - not_asked
        if self._options.negatives == "authors":
            order = draw_names(
                [n for n in self._all if n in absent], list(positives), self._options.seed, name
            )
        else:
            order = self._all or list(positives)
        if not order and not self._all:
            raise RecordError("nothing_to_learn", name)
        order = [*order, *sorted((unknown | not_asked) - set(order))]
        caption, phrases = build_prompt(order, positives, absent, unknown)
        self._account.add_unknown(sum(phrase.unknown for phrase in phrases))
        return caption, phrases, ()

    @cached_property
    def _vocabulary(self) -> list[str]:
        """The classes of the label map, else all that the file names. A class that a record hides is among them."""
        if self._labels is not None:
            return self._all
        items = (item for _, line in iter_lines(self._path) for item in self._list_regions(line))
        named = (item.get("category") for item in items if isinstance(item, dict))
        return sorted(
            {
                normalize_name(n)
                for n in named
                if isinstance(n, str) and is_encodable(n) and is_readable(normalize_name(n))
            }
        )

    def _find_category(self, item: Mapping[str, JsonValue], repairs: set[str]) -> str:
        label, category = item.get("label"), item.get("category")
        named = (
            normalize_name(category)
            if isinstance(category, str) and is_readable(normalize_name(category))
            else None
        )
        if isinstance(category, str) and (token := find_special_token(category)):
            raise RecordError("category_special", f"{category!r} has {token}")
        key = id_text(label)
        self._off_by_one.add(key, named)
        if label is not None and not (isinstance(label, int) and not isinstance(label, bool)):
            if key is None:
                raise RecordError("category_unknown", f"label {label!r}")
            repairs.add("number_form")
        if self._labels is None:
            if named is None:
                raise RecordError("category_missing", f"label {label!r} without --label-map")
            return named
        if key is None and named in self._all:
            return str(named)
        if key is None or key not in self._labels:
            raise RecordError("category_unknown", f"label {label!r}, category {category!r}")
        if named is None:
            repairs.add("name_by_label")
        elif named != self._labels[key]:
            raise RecordError("category_differs", f"label {label!r} is {self._labels[key]!r}, not {named!r}")
        return self._labels[key]

    def _read_grounding(
        self, content: Mapping[str, JsonValue], frame: Frame, name: str, number: int
    ) -> tuple[str, list[GoldPhrase], tuple[str, ...]]:
        self.exhaustive = False
        caption, caption_repairs = read_caption(content.get("caption"))
        phrases: dict[Span, GoldPhrase] = {}
        placed: dict[str, Span] = {}
        for place, value in enumerate(_check_list(content, "regions")):
            repairs: set[str] = set()
            spans: list[Span] = []
            try:
                item = _check_object(value)
                spans = self._read_region_spans(item, caption, placed, phrases, repairs)
                boxes = [self._read_box(one, frame, repairs) for one in _list_boxes(item.get("bbox"))]
                score = self._scores.read(_find_score(item))
            except RecordError as refused:
                self._account.refuse("regions", f"line {number} region {place}", refused.code, refused.detail)
                for span in spans:
                    get_phrase(span, caption, phrases).unknown = True
                continue
            for span, box in product(spans, boxes):
                get_phrase(span, caption, phrases).add_box(box, score)
            self._account.keep("regions", f"line {number} region {place}", repairs)
        self._account.add_unknown(sum(phrase.unknown for phrase in phrases.values()))
        return caption, [phrases[span] for span in sorted(phrases)], caption_repairs

    def _read_region_spans(
        self,
        item: Mapping[str, JsonValue],
        caption: str,
        placed: dict[str, Span],
        phrases: Mapping[Span, GoldPhrase],
        repairs: set[str],
    ) -> list[Span]:
        """Return the spans of the line, else the places of the phrase.

        Equal phrases are one phrase with several boxes.
        """
        value = item.get("phrase")
        values = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        texts = [text for text in values if isinstance(text, str) and text.strip()]
        if len(texts) != len(values):
            raise RecordError("phrase_missing", f"{value!r}")
        if "tokens_positive" in item:
            return read_spans(item["tokens_positive"], caption, texts or None, repairs)
        if self._options.dialect == "mmdet":
            raise RecordError("no_span", "the dialect needs tokens_positive")
        if not texts:
            raise RecordError("phrase_missing", f"{value!r}")
        return [self._find_span(text, caption, placed, phrases, repairs) for text in texts]

    def _find_span(
        self,
        text: str,
        caption: str,
        placed: dict[str, Span],
        phrases: Mapping[Span, GoldPhrase],
        repairs: set[str],
    ) -> Span:
        if self._options.dialect != "mmdet" and _SCORE.search(text) and text not in caption:
            text = _SCORE.sub("", text)
            repairs.add("score_in_phrase")
        if text in placed:
            return placed[text]
        placed[text] = find_phrase(text, caption, set(phrases), repairs)
        return placed[text]


def _find_score(item: Mapping[str, JsonValue]) -> JsonValue:
    """Return the score of a region, or the one that TAO prints behind the phrase: `a man (0.52)`."""
    phrase = item.get("phrase")
    printed = _SCORE.search(phrase) if isinstance(phrase, str) and "score" not in item else None
    return item.get("score") if printed is None else float(printed[0].strip(" ()"))


def _list_boxes(value: JsonValue) -> list[JsonValue]:
    """Return the boxes of a region, which has one or a list of them."""
    is_many = isinstance(value, list) and bool(value) and all(isinstance(one, list) for one in value)
    return list(value) if is_many and isinstance(value, list) else [value]


def _check_list(content: Mapping[str, JsonValue], field: str) -> list[JsonValue]:
    value = content.get(field)
    if not isinstance(value, list):
        raise RecordError("field_missing", f"{field} is {type(value).__name__}, expected a list")
    return value


def _check_object(item: JsonValue) -> Mapping[str, JsonValue]:
    if not isinstance(item, dict):
        raise RecordError("field_missing", f"{type(item).__name__}, expected an object")
    return item


def _recognize(path: Path) -> bool:
    return has_objects_with(path, "detection", "grounding")


ENTRY = Importer(
    OdvgReader,
    frozenset(
        {
            *(ImportOption.NEGATIVES, ImportOption.LABEL_MAP, ImportOption.DIALECT),
            *(ImportOption.BOXES, ImportOption.ORIGIN),
        }
    ),
    recognize=_recognize,
)
