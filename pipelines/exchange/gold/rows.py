"""Rows of the view's form, made from what importers read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath
from typing import cast

from pydantic import JsonValue

from pipelines.exchange.gold.box_frames import Frame
from schemas.digests import canonical_json
from schemas.ledger import unit_name
from schemas.rows import ViewRow
from schemas.spans import PROMPT_SEPARATOR
from student.gold.boxes import Box
from student.gold.images.names import last_part
from student.gold.spans import Span

# Words behind which a phrase's head is over: "a group of friends", "the man who waves", "a cup with tea".
_AFTER_HEAD = {
    *(
        "of",
        "in",
        "on",
        "at",
        "with",
        "without",
        "by",
        "for",
        "from",
        "to",
        "near",
        "behind",
        "under",
        "over",
    ),
    *("above", "below", "between", "beside", "inside", "into", "that", "which", "who", "whose", "while"),
    *("wearing", "holding", "sitting", "standing", "and", "or", ","),
}
_ARTICLES = {"a", "an", "the"}


@dataclass
class GoldPhrase:
    """A phrase and its boxes.

    known_absent: it was looked for and is not there
    unknown:      a record that may be of it was refused, so neither presence nor absence is known
    """

    begin: int
    end: int
    root: str
    kind: str = "given"
    known_absent: bool = False
    unknown: bool = False
    boxes: list[Box] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)  # of the boxes, if they have any
    ignored: list[Box] = field(default_factory=list)  # crowds: there, but not to be learned as a box
    box_ids: list[str | None] = field(default_factory=list)  # in the file, as text
    ignored_ids: list[str | None] = field(default_factory=list)

    def add_box(
        self, box: Box, score: float | None = None, *, is_ignored: bool = False, source_id: str | None = None
    ) -> None:
        """Add a box, with its score if the boxes of the file have scores, and its id in the file."""
        (self.ignored if is_ignored else self.boxes).append(box)
        (self.ignored_ids if is_ignored else self.box_ids).append(source_id)
        if score is not None and not is_ignored:
            self.scores.append(score)

    @property
    def fate(self) -> str:
        """The fate: unresolved without a box unless known to be absent, and if a record of it was refused."""
        if self.unknown:
            return "unresolved"
        if self.boxes:
            return "positive"
        return "absent" if self.known_absent and not self.ignored else "unresolved"


@dataclass(frozen=True)
class DroppedSpan:
    """A phrase that no box can show, with a code of `schemas.codes.PHRASE_CODES`."""

    begin: int
    end: int
    code: str


class RowBuilder:
    """Makes rows in order, each with its own key."""

    def __init__(self, images_url: str) -> None:
        self._shard, self._unit = images_url, unit_name(images_url, 0)
        self._names: Counter[str] = Counter()
        self._rows = 0
        self.source_ids: list[list[str | None]] = []  # for each row, of each region

    def build(
        self,
        frame: Frame,
        file_name: str,
        caption: str,
        phrases: Sequence[GoldPhrase],
        *,
        dropped: Iterable[DroppedSpan] = (),
        meta: Mapping[str, object] | None = None,
        source_url: str | None = None,
        license: str | None = None,
    ) -> ViewRow:
        """Return a row. The boxes of its phrases are in the stored upright image already."""
        found = frame.found
        index, self._rows = self._rows, self._rows + 1
        row = {
            "unit": self._unit,
            "shard": self._shard,
            "index": index,
            "key": self._make_key(file_name),
            "pixels": None if found is None else dict(found.pixels),
            "image_sha256": None if found is None else found.sha256,
            "source_url": source_url,
            "license": license,
            "meta": canonical_json(meta or {}).decode("utf-8", "surrogatepass"),
            "width": (frame.width or None) if found is None else found.width,
            "height": (frame.height or None) if found is None else found.height,
            "original_width": frame.width or None,
            "original_height": frame.height or None,
            "exif_orientation": 1 if found is None else found.exif_orientation,
            "caption": caption,
            "phrases": [_make_phrase(caption, phrase) for phrase in phrases],
            "dropped_phrases": [
                {"begin": d.begin, "end": d.end, "text": caption[d.begin : d.end], "code": d.code}
                for d in dropped
            ],
            "regions": [
                _make_region(number, box, fate, score)
                for number, phrase in enumerate(phrases)
                for fate, boxes, scores in (
                    ("ignore" if phrase.unknown else "positive", phrase.boxes, phrase.scores),
                    ("ignore", phrase.ignored, []),
                )
                for box, score in zip(boxes, scores or [1.0] * len(boxes), strict=True)
            ],
        }
        self.source_ids.append([one for p in phrases for one in (*p.box_ids, *p.ignored_ids)])
        return cast(ViewRow, row)  # a column that is missing here is null in the table

    def _make_key(self, file_name: str) -> str:
        """Return the file's stem; the second row of an image gets `#2`, and so on."""
        stem = PurePosixPath(last_part(file_name)).stem
        self._names[stem] += 1
        return stem if self._names[stem] == 1 else f"{stem}#{self._names[stem]}"


def join_names(names: Sequence[str]) -> tuple[str, list[Span]]:
    """Return the caption that lists the names, and the span of each."""
    spans, begin = [], 0
    for name in names:
        spans.append((begin, begin + len(name)))
        begin += len(name) + len(PROMPT_SEPARATOR)
    return PROMPT_SEPARATOR.join(names), spans


@lru_cache(65_536)
def find_head(text: str) -> str:
    """Return the head noun of a phrase, singular and in lower case: `A group of friends` -> `group`.

    A heuristic for noun phrases that people marked: the last word before a preposition, a relative pronoun or a comma.
    """
    from teacher.phrases.tagging.lexicon import singularize

    words = [
        word
        for word in text.lower().replace(",", " , ").split()
        if any(c.isalnum() for c in word) or word == ","
    ]
    while len(words) > 1 and words[0] in _ARTICLES:
        words = words[1:]
    before = next((words[:i] for i, word in enumerate(words) if i and word in _AFTER_HEAD), words)
    last = (before or words or [text])[-1].strip(".,;:!?\"'()[]")
    return singularize(last) if last else text


def _make_phrase(caption: str, phrase: GoldPhrase) -> dict[str, JsonValue]:
    return {
        "begin": phrase.begin,
        "end": phrase.end,
        "text": caption[phrase.begin : phrase.end],
        "root": phrase.root,
        "kind": phrase.kind,
        "groundable": True,
        "truncated": False,
        "fate": phrase.fate,
    }


def _make_region(phrase: int, box: Box, fate: str, score: float) -> dict[str, JsonValue]:
    x0, y0, x1, y1 = box
    place = {"x0": x0, "y0": y0, "x1": x1, "y1": y1}
    return {
        "phrase": phrase,
        **place,
        "score": score,
        "weight": 1.0,
        "pass_index": 0,
        "fate": fate,
        "origin": "human",
    }
