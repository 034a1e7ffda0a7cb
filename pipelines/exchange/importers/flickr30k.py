"""Flickr30k Entities: five captions an image with marked phrases, and boxes by phrase chain; one row a caption.

Coordinates of the XML files are 1-based and inclusive: a box from 1 to 10 covers the pixels [0, 10). A chain may have
several boxes and a box several chains. A phrase of a chain without a box (a scene, or nothing to draw) is unresolved;
chain 0 (notvisual) is dropped.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.reading.user_text import read_text
from pipelines.exchange.gold.account import Refused, Tally, code_of_contained, is_standard
from pipelines.exchange.gold.box_frames import Frame, frame_of
from pipelines.exchange.gold.boxes import Box, read_box
from pipelines.exchange.gold.options import Options
from pipelines.exchange.gold.rows import DroppedSpan, GoldPhrase, RowMaker, head_of
from pipelines.exchange.importers.coco import check_split
from pipelines.exchange.importers.mdetr import read_caption
from schemas.errors import NotFoundError

MAX_FILE_BYTES = 1_000_000
NOT_VISUAL = "0"
_MENTION = re.compile(r"\[/EN#(\d+)((?:/[A-Za-z]+)+) ([^\[\]]+)\]")


@dataclass(frozen=True)
class Mention:
    """A marked phrase: `caption[begin:end]` is of the chain."""

    begin: int
    end: int
    chain: str
    types: tuple[str, ...]


class FlickrGold:
    """Rows of a folder with Sentences/ID.txt and Annotations/ID.xml; images are ID.jpg."""

    exhaustive = False
    problems = ()

    def __init__(self, path: Path, options: Options, tally: Tally) -> None:
        self._path, self._options, self._tally = path, options, tally
        self.facts: dict[str, Any] = {"mentions": 0, "not_visual": 0, "without_box": 0}

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row per caption: images by number, captions in the file's order.

        Raises NotFoundError without sentences.
        """
        files = sorted((self._path / "Sentences").glob("*.txt"), key=lambda path: (len(path.stem), path.stem))
        if not files:
            raise NotFoundError(
                f"{self._path}: no Sentences/*.txt; expected the folder of Flickr30k Entities"
            )
        unrelated = _unrelated(self._path / "UNRELATED_CAPTIONS")
        maker = RowMaker(self._options.images_url)
        for file in files:
            yield from self._image(maker, file, unrelated)

    def _image(
        self, maker: RowMaker, file: Path, unrelated: frozenset[tuple[str, int]]
    ) -> Iterator[dict[str, Any]]:
        self._tally.met("images")
        name, lines = f"{file.stem}.jpg", []
        try:
            lines = _lines(file)
            self._tally.met("captions", len(lines))
            if not is_standard(name):
                raise Refused("value_bad", repr(name))
            check_split(self._options, name)
            root = self._annotation(file.stem)
            frame = self._frame(root, name)
        except Refused as refused:
            self._tally.refused("images", file.stem, refused.code, refused.detail)
            self._tally.refused("captions", file.stem, code_of_contained(refused), number=len(lines))
            return
        self._tally.kept("images", file.stem, frame.repairs)
        sentences = self._sentences(file.stem, lines, unrelated)
        chains = {m.chain for _, _, found in sentences for m in found}
        boxes, unknown = self._boxes(root, frame, file.stem, chains)
        for number, caption, mentions in sentences:
            yield self._row(maker, frame, name, number, caption, mentions, boxes, unknown)

    def _annotation(self, image: str) -> ElementTree.Element | None:
        path = self._path / "Annotations" / f"{image}.xml"
        if path.is_file():
            return read_xml(path)
        if self._options.images is not None:
            raise Refused("boxes_missing", f"Annotations/{image}.xml")
        return None

    def _frame(self, root: ElementTree.Element | None, name: str) -> Frame:
        if root is None:
            return Frame(0, 0, None, (), lambda box: box)
        sides = {side: _number(root.findtext(f"size/{side}")) for side in ("width", "height")}
        return frame_of({"file_name": name, **sides}, name, self._options.images)

    def _sentences(
        self, image: str, lines: Sequence[str], unrelated: frozenset[tuple[str, int]]
    ) -> list[tuple[int, str, list[Mention]]]:
        found = []
        for number, line in enumerate(lines):
            try:
                if (image, number + 1) in unrelated:
                    raise Refused("caption_unrelated")
                caption, mentions = parse_sentence(line)
                caption, repairs = read_caption(caption)
            except Refused as refused:
                self._tally.refused("captions", f"{image} line {number + 1}", refused.code, refused.detail)
                continue
            self._tally.kept("captions", f"{image} line {number + 1}", repairs)
            found.append((number, caption, mentions))
        return found

    def _boxes(
        self, root: ElementTree.Element | None, frame: Frame, image: str, chains: set[str]
    ) -> tuple[Mapping[str, list[Box]], set[str]]:
        """Return the boxes by chain, and the chains of which an object was refused."""
        boxes: defaultdict[str, list[Box]] = defaultdict(list)
        unknown: set[str] = set()
        for number, item in enumerate([] if root is None else root.findall("object")):
            self._tally.met("objects")
            repairs: set[str] = set()
            try:
                named, box = _object(item, frame, repairs)
                if not set(named) & chains:
                    raise Refused("entity_unknown", ", ".join(named))
            except Refused as refused:
                self._tally.refused("objects", f"{image} object {number}", refused.code, refused.detail)
                unknown.update(_chains(item))
                continue
            for chain in named if box is not None else ():
                boxes[chain].append(box)  # type: ignore[arg-type]
            self._tally.kept("objects", f"{image} object {number}", repairs)
        return boxes, unknown

    def _row(
        self,
        maker: RowMaker,
        frame: Frame,
        name: str,
        number: int,
        caption: str,
        mentions: Sequence[Mention],
        boxes: Mapping[str, list[Box]],
        unknown: set[str],
    ) -> dict[str, Any]:
        seen = [mention for mention in mentions if mention.chain != NOT_VISUAL]
        phrases = [
            GoldPhrase(
                m.begin,
                m.end,
                head_of(caption[m.begin : m.end]),
                unknown=m.chain in unknown,
                boxes=list(boxes.get(m.chain, ())),
            )
            for m in seen
        ]
        self._tally.unknown(sum(phrase.unknown for phrase in phrases))
        dropped = [DroppedSpan(m.begin, m.end, "PH_STOP_HEAD") for m in mentions if m.chain == NOT_VISUAL]
        self.facts["mentions"] += len(mentions)
        self.facts["not_visual"] += len(dropped)
        self.facts["without_box"] += sum(not phrase.boxes for phrase in phrases)
        meta = {
            "sentence": number,
            "chains": [m.chain for m in seen],
            "types": ["/".join(m.types) for m in seen],
        }
        return maker.row(frame, name, caption, phrases, dropped=dropped, meta=meta)


def parse_sentence(line: str) -> tuple[str, list[Mention]]:
    """The caption without its marks, and what was marked. Raises Refused markup_bad."""
    caption, mentions, last = "", [], 0
    for match in _MENTION.finditer(line):
        caption += line[last : match.start()]
        words = match.group(3)
        begin = len(caption) + len(words) - len(words.lstrip())
        caption += words
        end = len(caption) - len(words) + len(words.rstrip())
        if begin >= end:
            raise Refused("markup_bad", line)
        mentions.append(Mention(begin, end, match.group(1), tuple(match.group(2).split("/")[1:])))
        last = match.end()
    caption += line[last:]
    if "/EN#" in caption:
        raise Refused("markup_bad", line)
    return caption, mentions


def read_xml(path: Path) -> ElementTree.Element:
    """The annotation element. Raises Refused xml_bad, also for a document type: it could define entities."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"more than {MAX_FILE_BYTES} bytes")
        text = path.read_bytes().decode("utf-8")
        if "<!" in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL):
            raise ValueError("a document type or CDATA")
        root = ElementTree.fromstring(text)
    except (ValueError, ElementTree.ParseError) as error:
        raise Refused("xml_bad", f"{path.name}: {error}") from error
    if root.tag != "annotation":
        raise Refused("xml_bad", f"{path.name}: <{root.tag}>, expected <annotation>")
    return root


def _chains(item: ElementTree.Element) -> list[str]:
    return [(name.text or "").strip() for name in item.findall("name")]


def _object(item: ElementTree.Element, frame: Frame, repairs: set[str]) -> tuple[list[str], Box | None]:
    named = _chains(item)
    place = item.find("bndbox")
    if not named or not all(named):
        raise Refused("field_missing", "an object without a name")
    if place is None:
        if item.find("nobndbox") is None and item.find("scene") is None:
            raise Refused("field_missing", f"{named}: neither bndbox nor nobndbox nor scene")
        return named, None
    x0, y0, x1, y1 = (_number(place.findtext(side)) for side in ("xmin", "ymin", "xmax", "ymax"))
    if x0 is None or y0 is None or x1 is None or y1 is None:
        raise Refused("box_not_numbers", f"{named}")
    low, high = (min(x0, x1), min(y0, y1)), (max(x0, x1), max(y0, y1))
    if (x0, y0) != low:
        repairs.add("corners_swapped")
    box = [low[0] - 1, low[1] - 1, *high]  # 1-based inclusive to half-open from 0
    return named, frame.placed(read_box(box, "xyxy", frame.width, frame.height, repairs))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < 1e9 else None


def _lines(file: Path) -> list[str]:
    """The sentences; bytes that are no UTF-8 become lone surrogates, which the caption's check refuses.

    raises: Refused caption_bad for what is no file, or one too long to be read whole
    """
    if not file.is_file():
        raise Refused("caption_bad", f"Sentences/{file.name} is no file")
    with file.open("rb") as opened:
        data = opened.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise Refused("caption_bad", f"Sentences/{file.name} has more than {MAX_FILE_BYTES} bytes")
    # split as bytes: text has other ends of lines, which may stand within a caption
    return [line.decode("utf-8", "surrogateescape") for line in data.splitlines() if line.strip()]


def _unrelated(path: Path) -> frozenset[tuple[str, int]]:
    """(image, number from 1) of the captions that the authors list as another image's; empty without the list."""
    if not path.is_file():
        return frozenset()
    text = read_text(path, "gold import flickr30k:")
    rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return frozenset((row[0], int(row[1])) for row in rows if len(row) == 2 and row[1].isdecimal())
