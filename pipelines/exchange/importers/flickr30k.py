"""Flickr30k Entities: five captions an image with marked phrases, and boxes by phrase chain. One row per caption.

Coordinates of the XML files are 1-based and inclusive: a box from 1 to 10 covers the pixels [0, 10). A chain may have
several boxes and a box several chains. A phrase of a chain without a box (a scene, or nothing to draw) is unresolved.
Chain 0 (notvisual) is dropped.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from engine.reading.user_text import read_text
from pipelines.exchange.gold.box_frames import Frame, make_frame
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.gold.records import check_split, read_caption
from pipelines.exchange.gold.rows import DroppedSpan, GoldPhrase, RowBuilder, find_head
from pipelines.exchange.gold.xml_file import MAX_FILE_BYTES, parse_number, read_xml
from pipelines.exchange.importer import Importer
from schemas.errors import NotFoundError
from schemas.rows import ViewRow
from student.gold.account import ImportAccount, RecordError, code_of_contents, is_encodable
from student.gold.boxes import Box, BoxConvention, read_box

NOT_VISUAL = "0"
_BOXES = BoxConvention("xyxy")
_MENTION = re.compile(r"\[/EN#(\d+)((?:/[A-Za-z]+)+) ([^\[\]]+)\]")


@dataclass(frozen=True)
class Mention:
    """A marked phrase: `caption[begin:end]` belongs to the chain."""

    begin: int
    end: int
    chain: str
    types: tuple[str, ...]


class FlickrReader:
    """Rows of a folder with Sentences/ID.txt and Annotations/ID.xml. Images are ID.jpg."""

    exhaustive = False
    problems = ()
    questionable_names = ()
    source_ids = ()
    category_ids = None

    def __init__(self, path: Path, options: ImportOptions, account: ImportAccount) -> None:
        self._path, self._options, self._account = path, options, account
        self.facts = {"mentions": 0, "not_visual": 0, "without_box": 0}

    def rows(self) -> Iterator[ViewRow]:
        """Yield one row per caption: images by number, captions in the file's order.

        Raises NotFoundError without sentences.
        """
        files = sorted((self._path / "Sentences").glob("*.txt"), key=lambda path: (len(path.stem), path.stem))
        if not files:
            raise NotFoundError(
                f"{self._path}: no Sentences/*.txt; expected the folder of Flickr30k Entities"
            )
        unrelated = _read_unrelated(self._path / "UNRELATED_CAPTIONS")
        builder = RowBuilder(self._options.images_url)
        for file in files:
            yield from self._iter_image_rows(builder, file, unrelated)

    def _iter_image_rows(
        self, builder: RowBuilder, file: Path, unrelated: frozenset[tuple[str, int]]
    ) -> Iterator[ViewRow]:
        self._account.count("images")
        name, lines = f"{file.stem}.jpg", []
        try:
            lines = _read_lines(file)
            self._account.count("captions", len(lines))
            if not is_encodable(name):
                raise RecordError("value_bad", repr(name))
            check_split(self._options, name)
            root = self._read_annotation(file.stem)
            frame = self._make_frame(root, name)
        except RecordError as refused:
            self._account.refuse("images", file.stem, refused.code, refused.detail)
            self._account.refuse("captions", file.stem, code_of_contents(refused), number=len(lines))
            return
        self._account.keep("images", file.stem, frame.repairs)
        sentences = self._read_sentences(file.stem, lines, unrelated)
        chains = {m.chain for _, _, found in sentences for m in found}
        boxes, unknown = self._read_boxes(root, frame, file.stem, chains)
        for number, caption, mentions in sentences:
            yield self._build_row(builder, frame, name, number, caption, mentions, boxes, unknown)

    def _read_annotation(self, image: str) -> ElementTree.Element | None:
        path = self._path / "Annotations" / f"{image}.xml"
        if path.is_file():
            return read_xml(path)
        if self._options.images is not None:
            raise RecordError("boxes_missing", f"Annotations/{image}.xml")
        return None

    def _make_frame(self, root: ElementTree.Element | None, name: str) -> Frame:
        if root is None:
            return Frame(0, 0, None, (), lambda box: box)
        sides = {side: parse_number(root.findtext(f"size/{side}")) for side in ("width", "height")}
        return make_frame({"file_name": name, **sides}, name, self._options.images)

    def _read_sentences(
        self, image: str, lines: Sequence[str], unrelated: frozenset[tuple[str, int]]
    ) -> list[tuple[int, str, list[Mention]]]:
        found = []
        for number, line in enumerate(lines):
            try:
                if (image, number + 1) in unrelated:
                    raise RecordError("caption_unrelated")
                caption, mentions = parse_sentence(line)
                caption, repairs = read_caption(caption)
            except RecordError as refused:
                self._account.refuse("captions", f"{image} line {number + 1}", refused.code, refused.detail)
                continue
            self._account.keep("captions", f"{image} line {number + 1}", repairs)
            found.append((number, caption, mentions))
        return found

    def _read_boxes(
        self, root: ElementTree.Element | None, frame: Frame, image: str, chains: set[str]
    ) -> tuple[Mapping[str, list[Box]], set[str]]:
        """Return the boxes by chain, and the chains of which an object was refused."""
        boxes: defaultdict[str, list[Box]] = defaultdict(list)
        unknown: set[str] = set()
        for number, item in enumerate([] if root is None else root.findall("object")):
            self._account.count("objects")
            repairs: set[str] = set()
            try:
                named, box = _read_object(item, frame, repairs)
                if not set(named) & chains:
                    raise RecordError("entity_unknown", ", ".join(named))
            except RecordError as refused:
                self._account.refuse("objects", f"{image} object {number}", refused.code, refused.detail)
                unknown.update(_chain_names(item))
                continue
            for chain in named if box is not None else ():
                boxes[chain].append(box)  # type: ignore[arg-type]
            self._account.keep("objects", f"{image} object {number}", repairs)
        return boxes, unknown

    def _build_row(
        self,
        builder: RowBuilder,
        frame: Frame,
        name: str,
        number: int,
        caption: str,
        mentions: Sequence[Mention],
        boxes: Mapping[str, list[Box]],
        unknown: set[str],
    ) -> ViewRow:
        seen = [mention for mention in mentions if mention.chain != NOT_VISUAL]
        phrases = [
            GoldPhrase(
                m.begin,
                m.end,
                find_head(caption[m.begin : m.end]),
                unknown=m.chain in unknown,
                boxes=list(boxes.get(m.chain, ())),
            )
            for m in seen
        ]
        self._account.add_unknown(sum(phrase.unknown for phrase in phrases))
        dropped = [DroppedSpan(m.begin, m.end, "PH_STOP_HEAD") for m in mentions if m.chain == NOT_VISUAL]
        self.facts["mentions"] += len(mentions)
        self.facts["not_visual"] += len(dropped)
        self.facts["without_box"] += sum(not phrase.boxes for phrase in phrases)
        meta = {
            "sentence": number,
            "chains": [m.chain for m in seen],
            "types": ["/".join(m.types) for m in seen],
        }
        return builder.build(frame, name, caption, phrases, dropped=dropped, meta=meta)


def parse_sentence(line: str) -> tuple[str, list[Mention]]:
    """Return the caption without its marks, and the marked phrases. Raises RecordError markup_bad."""
    caption, mentions, last = "", [], 0
    for match in _MENTION.finditer(line):
        caption += line[last : match.start()]
        words = match.group(3)
        begin = len(caption) + len(words) - len(words.lstrip())
        caption += words
        end = len(caption) - len(words) + len(words.rstrip())
        if begin >= end:
            raise RecordError("markup_bad", line)
        mentions.append(Mention(begin, end, match.group(1), tuple(match.group(2).split("/")[1:])))
        last = match.end()
    caption += line[last:]
    if "/EN#" in caption:
        raise RecordError("markup_bad", line)
    return caption, mentions


def _chain_names(item: ElementTree.Element) -> list[str]:
    return [(name.text or "").strip() for name in item.findall("name")]


def _read_object(item: ElementTree.Element, frame: Frame, repairs: set[str]) -> tuple[list[str], Box | None]:
    named = _chain_names(item)
    place = item.find("bndbox")
    if not named or not all(named):
        raise RecordError("field_missing", "an object without a name")
    if place is None:
        if item.find("nobndbox") is None and item.find("scene") is None:
            raise RecordError("field_missing", f"{named}: neither bndbox nor nobndbox nor scene")
        return named, None
    x0, y0, x1, y1 = (parse_number(place.findtext(side)) for side in ("xmin", "ymin", "xmax", "ymax"))
    if x0 is None or y0 is None or x1 is None or y1 is None:
        raise RecordError("box_not_numbers", f"{named}")
    low, high = (min(x0, x1), min(y0, y1)), (max(x0, x1), max(y0, y1))
    if (x0, y0) != low:
        repairs.add("corners_swapped")
    box: list[JsonValue] = [low[0] - 1, low[1] - 1, *high]  # 1-based inclusive to half-open from 0
    return named, frame.place(read_box(box, _BOXES, frame.width, frame.height, repairs))


def _read_lines(file: Path) -> list[str]:
    """Return the sentences. Bytes that are not UTF-8 become lone surrogates, which the caption's check refuses.

    Raises RecordError caption_bad if it is not a file, or too long to be read whole.
    """
    if not file.is_file():
        raise RecordError("caption_bad", f"Sentences/{file.name} is no file")
    with file.open("rb") as opened:
        data = opened.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise RecordError("caption_bad", f"Sentences/{file.name} has more than {MAX_FILE_BYTES} bytes")
    # Split as bytes: text has further line ends, which may be part of a caption.
    return [line.decode("utf-8", "surrogateescape") for line in data.splitlines() if line.strip()]


def _read_unrelated(path: Path) -> frozenset[tuple[str, int]]:
    """Return (image, number from 1) of the captions that the authors list as another image's.

    The set is empty if the list does not exist.
    """
    if not path.is_file():
        return frozenset()
    text = read_text(path, "gold import flickr30k:")
    rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return frozenset((row[0], int(row[1])) for row in rows if len(row) == 2 and row[1].isdecimal())


ENTRY = Importer(
    FlickrReader,
    recognize=lambda path: (path / "Sentences").is_dir() and (path / "Annotations").is_dir(),
    folder_files=("Sentences/*.txt", "Annotations/*.xml", "UNRELATED_CAPTIONS"),
)
