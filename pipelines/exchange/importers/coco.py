"""COCO, LVIS and Objects365 detection boxes as gold, one row an image.

All categories without a box are known to be absent, unless images list their own negatives (LVIS). Then only those are
absent, and the lists stay in `meta`. If a category is not boxed exhaustively, `meta` says so. A category of which an
annotation was refused is unknown in that image: unresolved, never absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import JsonValue

from pipelines.exchange.gold.box_frames import Frame, make_frame
from pipelines.exchange.gold.category_prompt import (
    UnknownClasses,
    build_prompt,
    draw_names,
    is_readable,
    normalize_name,
)
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.gold.records import check_split, is_crowd, require_file_name
from pipelines.exchange.gold.rows import GoldPhrase, RowBuilder
from pipelines.exchange.importer import Importer, ImportOption
from schemas.errors import ConfigError
from schemas.rows import ViewRow
from student.gold.account import ImportAccount, RecordError, code_of_contents, is_encodable
from student.gold.boxes import read_box
from student.gold.coco_store import CocoStore, JsonObject, has_same_type, id_text
from student.gold.off_by_one import OffByOneCheck

_FEDERATED = ("neg_category_ids", "not_exhaustive_category_ids")


class CocoReader:
    """Rows of a COCO-like detection file."""

    def __init__(self, path: Path, options: ImportOptions, account: ImportAccount) -> None:
        self._path, self._options, self._account = path, options, account
        self.exhaustive = True
        self.facts: dict[str, object] = {}
        self._off_by_one = OffByOneCheck({})

    @property
    def problems(self) -> list[str]:
        """Reasons why the gold cannot be used: category ids that are off by one."""
        found = self._off_by_one.describe_category_problem()
        return [] if found is None else [f"{self._path.name}: {found}"]

    def rows(self) -> Iterator[ViewRow]:
        """Yield one row per image in the order of the file. Raises ConfigError for a file without categories."""
        with CocoStore(self._path, self._account) as file:
            self._names = _read_categories(file.rest["categories"], self._path)
            self._off_by_one = OffByOneCheck(self._names)
            self._licenses = _read_licenses(file.rest["licenses"])
            self._all = list(dict.fromkeys(self._names[key] for key in sorted(self._names, key=_id_order)))
            self.facts = {"categories": len(self._names), "names": len(self._all), "federated": False}
            self._federated = "neg_category_ids" in file.image_fields
            self._anywhere = UnknownClasses()
            for category in file.without_image:
                self._anywhere.add(self._names.get(category or ""))
            if frequency := _read_frequencies(file.rest["categories"]):
                self.facts["frequency"] = frequency
            builder = RowBuilder(self._options.images_url)
            for image, annotations in file.images():
                decided = self._account.count_decided("annotations")
                try:
                    row = self._build_row(builder, image, annotations)
                except RecordError as refused:
                    left = len(annotations) - (self._account.count_decided("annotations") - decided)
                    self._account.refuse("images", image["id"], refused.code, refused.detail)
                    code = code_of_contents(refused)
                    self._account.refuse("annotations", f"image {image['id']}", code, number=left)
                else:
                    yield row

    def _build_row(self, builder: RowBuilder, image: JsonObject, annotations: list[JsonObject]) -> ViewRow:
        name = require_file_name(image)
        check_split(self._options, name, image["id"])
        frame = make_frame(image, name, self._options.images)
        source_url = _read_url(image)
        lists = {field: self._read_names(image, field) for field in _FEDERATED}
        positives, refused = self._read_positives(image, annotations, frame)
        caption, phrases = self._build_prompt(image, positives, refused, lists)
        if not phrases:
            raise RecordError("nothing_to_learn", name)
        unknown = [phrase for phrase in phrases if phrase.unknown]
        self._account.add_unknown(len(unknown))
        partly = [phrase.root for phrase in unknown if phrase.boxes or phrase.ignored]
        self._account.keep("images", image["id"], frame.repairs)
        return builder.build(
            frame,
            name,
            caption,
            phrases,
            meta=_make_meta(image, list(dict.fromkeys([*lists["not_exhaustive_category_ids"], *partly]))),
            source_url=source_url,
            license=self._licenses.get(id_text(image.get("license")) or ""),
        )

    def _read_positives(
        self, image: Mapping[str, JsonValue], annotations: list[JsonObject], frame: Frame
    ) -> tuple[dict[str, GoldPhrase], UnknownClasses]:
        found: dict[str, GoldPhrase] = {}
        unknown = UnknownClasses()
        for annotation in sorted(annotations, key=lambda a: _id_order(id_text(a.get("category_id")) or "")):
            repairs: set[str] = set()
            try:
                category = self._find_category(annotation, repairs)
                box = frame.place(
                    read_box(annotation.get("bbox"), "xywh", frame.width, frame.height, repairs)
                )
            except RecordError as refused:
                self._account.refuse("annotations", annotation.get("id"), refused.code, refused.detail)
                unknown.add(self._names.get(id_text(annotation.get("category_id")) or ""))
                continue
            if not has_same_type(annotation["image_id"], image["id"]):
                repairs.add("number_form")
            phrase = found.setdefault(category, GoldPhrase(0, 0, category))
            (phrase.ignored if is_crowd(annotation) else phrase.boxes).append(box)
            self._account.keep("annotations", annotation.get("id"), repairs)
        return found, unknown

    def _find_category(self, annotation: Mapping[str, JsonValue], repairs: set[str]) -> str:
        key = id_text(annotation.get("category_id"))
        self._off_by_one.add(key, None)
        if key is None or key not in self._names:
            raise RecordError("category_unknown", f"{annotation.get('category_id')!r}")
        if not isinstance(annotation["category_id"], int):
            repairs.add("number_form")
        return self._names[key]

    def _build_prompt(
        self,
        image: Mapping[str, JsonValue],
        positives: dict[str, GoldPhrase],
        refused: UnknownClasses,
        lists: Mapping[str, list[str]],
    ) -> tuple[str, list[GoldPhrase]]:
        federated = "neg_category_ids" in image
        self.exhaustive = self.exhaustive and not federated
        self.facts["federated"] = self.facts["federated"] or federated
        unsure = [name for name in lists["not_exhaustive_category_ids"] if name not in positives]
        known = lists["neg_category_ids"] if self._federated else self._all
        # The image of an annotation without image_id is not known. Classes that are boxed here stay.
        boxless = {*known} - positives.keys()
        unknown = refused.names | refused.select([*known, *positives]) | self._anywhere.select(boxless)
        absent = set(known) - set(unsure) - unknown
        if self._options.negatives == "authors":
            names = [name for name in self._all if name in absent]
            order = draw_names(names, list(positives), self._options.seed, str(image["id"]))
            order += [name for name in self._all if name in unknown - positives.keys() - set(unsure)]
        else:
            listed = positives.keys() | absent | (unknown - set(unsure))
            order = [name for name in self._all if name in listed]
        return build_prompt([*order, *unsure], positives, absent, unknown)

    def _read_names(self, image: Mapping[str, JsonValue], field: str) -> list[str]:
        """Return the names of a federated list. An id without a category is ignored."""
        value = image.get(field, [])
        if not isinstance(value, list):
            raise RecordError("field_missing", f"{field} is {type(value).__name__}, expected a list")
        return list(dict.fromkeys(self._names[k] for item in value if (k := id_text(item)) in self._names))

    @property
    def category_ids(self) -> dict[str, str]:
        """The category's name by the text of its id in the file."""
        return dict(self._names)


def _read_categories(categories: list[JsonValue], path: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    for category in categories:
        key = id_text(category.get("id")) if isinstance(category, dict) else None
        name = category.get("name") if isinstance(category, dict) else None
        if (
            key is None
            or not isinstance(name, str)
            or not is_encodable(name)
            or not is_readable(normalize_name(name))
            or key in names
        ):
            raise ConfigError(
                f"{path}: category {str(category)[:80]} has no id and name of its own, so its boxes cannot be used; "
                "expected both for each category"
            )
        names[key] = normalize_name(name)
    if not names:
        raise ConfigError(f"{path}: no categories; a file of captions or of results is not detection gold")
    if list(names.values()) == ["object"]:
        raise ConfigError(f"{path}: its one category is 'object': a grounding file; use `gold import mdetr`")
    return names


def _read_frequencies(categories: list[JsonValue]) -> dict[str, list[str]]:
    """Return LVIS's frequency letters with the names that have them."""
    found: dict[str, list[str]] = {}
    for category in categories:
        letter = category.get("frequency") if isinstance(category, dict) else None
        if isinstance(category, dict) and isinstance(letter, str) and letter in ("r", "c", "f"):
            found.setdefault(letter, []).append(normalize_name(str(category["name"])))
    return found


def _read_licenses(items: list[JsonValue]) -> dict[str, str]:
    rows = [item for item in items if isinstance(item, dict) and id_text(item.get("id"))]
    names = {str(id_text(row["id"])): str(row.get("name") or row.get("url") or "")[:300] for row in rows}
    return {key: name for key, name in names.items() if is_encodable(name)}


def _read_url(image: Mapping[str, JsonValue]) -> str | None:
    """Return `coco_url`, None if there is none. Raises RecordError field_missing if it is no text."""
    url = image.get("coco_url")
    if url is not None and not isinstance(url, str):
        raise RecordError("field_missing", f"coco_url is {type(url).__name__}, expected text")
    return url


def _id_order(key: str) -> tuple[int, str]:
    """Sort ids by their numbers. Text follows the numbers."""
    return (int(key), "") if key.removeprefix("-").isdecimal() and len(key) < 19 else (2**63, key)


def _make_meta(image: Mapping[str, JsonValue], not_exhaustive: list[str]) -> dict[str, object]:
    meta: dict[str, object] = {"coco_image_id": image["id"]}
    meta.update({field: image[field] for field in _FEDERATED if field in image})
    return {**meta, "not_exhaustive": not_exhaustive} if not_exhaustive else meta


ENTRY = Importer(CocoReader, frozenset({ImportOption.NEGATIVES}))
