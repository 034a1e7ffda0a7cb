"""ODVG lines in their three dialects: Open-GroundingDino, MMDetection and NVIDIA TAO; one row a line.

The dialects differ in the image's key, in whether a region tells its span, and in whether it has one box or several.
A phrase without a span is looked for in the caption: the well-known loader joins phrases by their text instead, so the
same words at two places collapse into one.
A class of which an instance was refused is unknown in that image: unresolved, never absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from engine.reading.user_text import read_json
from pipelines.exchange.gold.account import Refused, Tally, code_of_contained, is_standard
from pipelines.exchange.gold.box_frames import Frame, frame_of
from pipelines.exchange.gold.boxes import Box, read_box
from pipelines.exchange.gold.coco_store import id_text
from pipelines.exchange.gold.detection import Unknown, clean, drawn, is_readable, prompt_of
from pipelines.exchange.gold.json_stream import lines_of
from pipelines.exchange.gold.label_shifts import LabelShifts
from pipelines.exchange.gold.options import Options
from pipelines.exchange.gold.rows import GoldPhrase, RowMaker
from pipelines.exchange.gold.spans import Span, find_phrase, read_spans
from pipelines.exchange.importers.coco import check_split
from pipelines.exchange.importers.mdetr import phrase_at, read_caption
from schemas.errors import ConfigError, SampleRejectedError

_IMAGE_KEYS = {"open_gd": "filename", "mmdet": "filename", "tao": "file_name"}
_SCORE = re.compile(r"\s*\([01]?\.\d\d\)$")


class OdvgGold:
    """Rows of a file of lines, detection and grounding mixed. Exhaustive where a label map says what was looked for."""

    def __init__(self, path: Path, options: Options, tally: Tally) -> None:
        self._path, self._options, self._tally = path, options, tally
        self._labels = None if options.label_map is None else read_label_map(options.label_map)
        self._all = [] if self._labels is None else list(dict.fromkeys(self._labels.values()))
        self.exhaustive = self._labels is not None
        self.facts: dict[str, Any] = {"detection": 0, "grounding": 0}
        self._shifts = LabelShifts(self._labels or {})

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row per line, in order. Raises NotFoundError."""
        maker = RowMaker(self._options.images_url)
        for number, line in lines_of(self._path):
            self._tally.met("lines")
            inside = self._regions_in(line)
            self._tally.met("regions", len(inside))
            told = self._tally.told("regions")
            try:
                if isinstance(line, SampleRejectedError):
                    raise Refused("json_bad", line.detail)
                if not is_standard(line):
                    raise Refused("value_bad")
                row = self._row(maker, line, number)
            except Refused as refused:
                left = len(inside) - (self._tally.told("regions") - told)
                self._tally.refused("lines", f"line {number}", refused.code, refused.detail)
                self._tally.refused("regions", f"line {number}", code_of_contained(refused), number=left)
            else:
                yield row

    @property
    def problems(self) -> list[str]:
        """Return why the gold cannot be used as it was read: a label map that is off by one."""
        found = self._shifts.problem()
        return [] if found is None else [f"--label-map {self._options.label_map}: {found}"]

    @staticmethod
    def _regions_in(line: Mapping[str, Any] | SampleRejectedError) -> list[Any]:
        if isinstance(line, SampleRejectedError):
            return []
        for part, field in (("detection", "instances"), ("grounding", "regions")):
            held = line.get(part)
            if isinstance(held, dict) and isinstance(held.get(field), list):
                return list(held[field])
        return []

    def _row(self, maker: RowMaker, line: Mapping[str, Any], number: int) -> dict[str, Any]:
        name = self._file_name(line)
        check_split(self._options, name)
        frame = frame_of(line, name, self._options.images)
        kinds = [kind for kind in ("detection", "grounding") if isinstance(line.get(kind), dict)]
        if len(kinds) != 1:
            raise Refused("field_missing", "expected one of detection and grounding, as an object")
        make = self._detection if kinds == ["detection"] else self._grounding
        caption, phrases, repairs = make(line[kinds[0]], frame, name, number)
        self.facts[kinds[0]] += 1
        self._tally.kept("lines", f"line {number}", (*frame.repairs, *repairs))
        partly = [phrase.root for phrase in phrases if phrase.unknown and phrase.boxes]
        known = {"not_exhaustive": partly} if kinds == ["detection"] and partly else {}
        return maker.row(frame, name, caption, phrases, meta={"line": number, **known})

    def _file_name(self, line: Mapping[str, Any]) -> str:
        wanted = self._options.dialect
        keys = ("filename", "file_name") if wanted == "auto" else (_IMAGE_KEYS[wanted],)
        name = next((line[key] for key in keys if isinstance(line.get(key), str) and line[key]), None)
        if name is None:
            raise Refused("field_missing", f"{' or '.join(keys)} of the image")
        return str(name)

    def _detection(
        self, held: Mapping[str, Any], frame: Frame, name: str, number: int
    ) -> tuple[str, list[GoldPhrase], tuple[str, ...]]:
        positives: dict[str, GoldPhrase] = {}
        refused_of = Unknown()
        for place, item in enumerate(_list(held, "instances")):
            repairs: set[str] = set()
            category = None
            try:
                category = self._category(_dictionary(item), repairs)
                box = frame.placed(read_box(item.get("bbox"), "xyxy", frame.width, frame.height, repairs))
            except Refused as refused:
                where = f"line {number} instance {place}"
                self._tally.refused("regions", where, refused.code, refused.detail)
                refused_of.add(category)
                continue
            positives.setdefault(category, GoldPhrase(0, 0, category)).boxes.append(box)
            self._tally.kept("regions", f"line {number} instance {place}", repairs)
        classes = self._vocabulary if refused_of.every_class else self._all
        unknown = refused_of.names | refused_of.among([*classes, *positives])
        absent = set(self._all) - positives.keys() - unknown
        if self._options.negatives == "authors":
            order = drawn([n for n in self._all if n in absent], list(positives), self._options.seed, name)
        else:
            order = self._all or list(positives)
        if not order and not self._all:
            raise Refused("nothing_to_learn", name)
        order = [*order, *sorted(unknown - set(order))]
        caption, phrases = prompt_of(order, positives, absent, unknown)
        self._tally.unknown(sum(phrase.unknown for phrase in phrases))
        return caption, phrases, ()

    @cached_property
    def _vocabulary(self) -> list[str]:
        """The classes of the label map, else all that the file names: one that a record hides is among them."""
        if self._labels is not None:
            return self._all
        held = (item for _, line in lines_of(self._path) for item in self._regions_in(line))
        named = (item.get("category") for item in held if isinstance(item, dict))
        return sorted(
            {clean(n) for n in named if isinstance(n, str) and is_standard(n) and is_readable(clean(n))}
        )

    def _category(self, item: Mapping[str, Any], repairs: set[str]) -> str:
        label, category = item.get("label"), item.get("category")
        named = clean(category) if isinstance(category, str) and is_readable(clean(category)) else None
        key = id_text(label)
        self._shifts.add(key, named)
        if label is not None and not (isinstance(label, int) and not isinstance(label, bool)):
            if key is None:
                raise Refused("category_unknown", f"label {label!r}")
            repairs.add("number_form")
        if self._labels is None:
            if named is None:
                raise Refused("category_missing", f"label {label!r} without --label-map")
            return named
        if key is None and named in self._all:
            return str(named)
        if key is None or key not in self._labels:
            raise Refused("category_unknown", f"label {label!r}, category {category!r}")
        if named is None:
            repairs.add("name_by_label")
        elif named != self._labels[key]:
            raise Refused("category_differs", f"label {label!r} is {self._labels[key]!r}, not {named!r}")
        return self._labels[key]

    def _grounding(
        self, held: Mapping[str, Any], frame: Frame, name: str, number: int
    ) -> tuple[str, list[GoldPhrase], tuple[str, ...]]:
        self.exhaustive = False
        caption, caption_repairs = read_caption(held.get("caption"))
        phrases: dict[Span, GoldPhrase] = {}
        placed: dict[str, Span] = {}
        for place, item in enumerate(_list(held, "regions")):
            repairs: set[str] = set()
            spans: list[Span] = []
            try:
                spans = self._spans(_dictionary(item), caption, placed, phrases, repairs)
                boxes = _boxes(item.get("bbox"), frame, repairs)
            except Refused as refused:
                self._tally.refused("regions", f"line {number} region {place}", refused.code, refused.detail)
                for span in spans:
                    phrase_at(span, caption, phrases).unknown = True
                continue
            for span in spans:
                phrase_at(span, caption, phrases).boxes.extend(boxes)
            self._tally.kept("regions", f"line {number} region {place}", repairs)
        self._tally.unknown(sum(phrase.unknown for phrase in phrases.values()))
        return caption, [phrases[span] for span in sorted(phrases)], caption_repairs

    def _spans(
        self,
        item: Mapping[str, Any],
        caption: str,
        placed: dict[str, Span],
        phrases: Mapping[Span, GoldPhrase],
        repairs: set[str],
    ) -> list[Span]:
        """Spans as the line tells them, else where the phrase stands; equal phrases are one (several boxes)."""
        value = item.get("phrase")
        texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise Refused("phrase_missing", f"{value!r}")
        if "tokens_positive" in item:
            return read_spans(item["tokens_positive"], caption, texts or None, repairs)
        if self._options.dialect == "mmdet":
            raise Refused("no_span", "the dialect needs tokens_positive")
        if not texts:
            raise Refused("phrase_missing", f"{value!r}")
        return [self._found(text, caption, placed, phrases, repairs) for text in texts]

    def _found(
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


def _boxes(value: Any, frame: Frame, repairs: set[str]) -> list[Box]:
    many = isinstance(value, list) and bool(value) and all(isinstance(item, list) for item in value)
    return [
        frame.placed(read_box(one, "xyxy", frame.width, frame.height, repairs))
        for one in (value if many else [value])
    ]


def _list(held: Mapping[str, Any], field: str) -> list[Any]:
    value = held.get(field)
    if not isinstance(value, list):
        raise Refused("field_missing", f"{field} is {type(value).__name__}, expected a list")
    return value


def _dictionary(item: Any) -> Mapping[str, Any]:
    if not isinstance(item, dict):
        raise Refused("field_missing", f"{type(item).__name__}, expected an object")
    return item


def read_label_map(path: Path) -> dict[str, str]:
    """Class names by index as text: `{"0": "person", ...}`. Raises NotFoundError and ConfigError."""
    value = read_json(path, "--label-map")
    if (
        not isinstance(value, dict)
        or not value
        or not all(
            isinstance(name, str) and is_standard(name) and is_readable(clean(name))
            for name in value.values()
        )
    ):
        raise ConfigError(f'--label-map {path}: expected {{"0": "person", "1": ...}}')
    labels = {key.strip(): clean(name) for key, name in value.items()}
    if len(labels) != len(value):
        raise ConfigError(f"--label-map {path}: an index stands there twice but for blanks; leave one")
    return labels
