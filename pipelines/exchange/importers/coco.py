"""COCO, LVIS and Objects365 detection boxes as gold, one row an image.

All categories are known to be absent where they have no box, unless images list their own negatives (LVIS): then those
alone are, and the lists stay in `meta`. Where a category is not exhaustively boxed, `meta` says so.
A category of which an annotation was refused is unknown in that image: unresolved, never absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.exchange.gold.account import Refused, Tally, code_of_contained, is_standard
from pipelines.exchange.gold.box_frames import Frame, frame_of
from pipelines.exchange.gold.boxes import read_box
from pipelines.exchange.gold.coco_store import CocoFile, id_text, same_form
from pipelines.exchange.gold.detection import Unknown, clean, drawn, is_readable, prompt_of
from pipelines.exchange.gold.label_shifts import LabelShifts
from pipelines.exchange.gold.options import Options
from pipelines.exchange.gold.rows import GoldPhrase, RowMaker
from schemas.errors import ConfigError

_FEDERATED = ("neg_category_ids", "not_exhaustive_category_ids")


class CocoGold:
    """Rows of a COCO-like detection file. `exhaustive` is known when all rows were taken."""

    def __init__(self, path: Path, options: Options, tally: Tally) -> None:
        self._path, self._options, self._tally = path, options, tally
        self.exhaustive = True
        self.facts: dict[str, Any] = {}
        self._shifts = LabelShifts({})

    @property
    def problems(self) -> list[str]:
        """Return why the gold cannot be used as it was read: category ids that are off by one."""
        found = self._shifts.category_problem()
        return [] if found is None else [f"{self._path.name}: {found}"]

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row per image in the file's order. Raises ConfigError for a file without categories."""
        with CocoFile(self._path, self._tally) as file:
            self._names = _names(file.rest["categories"], self._path)
            self._shifts = LabelShifts(self._names)
            self._licenses = _licenses(file.rest["licenses"])
            self._all = list(dict.fromkeys(self._names[key] for key in sorted(self._names, key=_in_order)))
            self.facts = {"categories": len(self._names), "names": len(self._all), "federated": False}
            self._federated = "neg_category_ids" in file.image_fields
            self._anywhere = Unknown()
            for category in file.without_image:
                self._anywhere.add(self._names.get(category or ""))
            if frequency := _frequency(file.rest["categories"]):
                self.facts["frequency"] = frequency
            maker = RowMaker(self._options.images_url)
            for image, annotations in file.images():
                told = self._tally.told("annotations")
                try:
                    row = self._row(maker, image, annotations)
                except Refused as refused:
                    left = len(annotations) - (self._tally.told("annotations") - told)
                    self._tally.refused("images", image["id"], refused.code, refused.detail)
                    code = code_of_contained(refused)
                    self._tally.refused("annotations", f"image {image['id']}", code, number=left)
                else:
                    yield row

    def _row(
        self, maker: RowMaker, image: dict[str, Any], annotations: list[dict[str, Any]]
    ) -> dict[str, Any]:
        name = file_name_of(image)
        check_split(self._options, name, image["id"])
        frame = frame_of(image, name, self._options.images)
        lists = {field: self._listed(image, field) for field in _FEDERATED}
        positives, refused = self._positives(image, annotations, frame)
        caption, phrases = self._prompt(image, positives, refused, lists)
        if not phrases:
            raise Refused("nothing_to_learn", name)
        unknown = [phrase for phrase in phrases if phrase.unknown]
        self._tally.unknown(len(unknown))
        partly = [phrase.root for phrase in unknown if phrase.boxes or phrase.ignored]
        self._tally.kept("images", image["id"], frame.repairs)
        return maker.row(
            frame,
            name,
            caption,
            phrases,
            meta=_meta(image, list(dict.fromkeys([*lists["not_exhaustive_category_ids"], *partly]))),
            source_url=image.get("coco_url"),
            license=self._licenses.get(id_text(image.get("license")) or ""),
        )

    def _positives(
        self, image: Mapping[str, Any], annotations: list[dict[str, Any]], frame: Frame
    ) -> tuple[dict[str, GoldPhrase], Unknown]:
        found: dict[str, GoldPhrase] = {}
        unknown = Unknown()
        for annotation in sorted(annotations, key=lambda a: _in_order(id_text(a.get("category_id")) or "")):
            repairs: set[str] = set()
            try:
                category = self._category(annotation, repairs)
                box = frame.placed(
                    read_box(annotation.get("bbox"), "xywh", frame.width, frame.height, repairs)
                )
            except Refused as refused:
                self._tally.refused("annotations", annotation.get("id"), refused.code, refused.detail)
                unknown.add(self._names.get(id_text(annotation.get("category_id")) or ""))
                continue
            if not same_form(annotation["image_id"], image["id"]):
                repairs.add("number_form")
            phrase = found.setdefault(category, GoldPhrase(0, 0, category))
            (phrase.ignored if is_crowd(annotation) else phrase.boxes).append(box)
            self._tally.kept("annotations", annotation.get("id"), repairs)
        return found, unknown

    def _category(self, annotation: Mapping[str, Any], repairs: set[str]) -> str:
        key = id_text(annotation.get("category_id"))
        self._shifts.add(key, None)
        if key is None or key not in self._names:
            raise Refused("category_unknown", f"{annotation.get('category_id')!r}")
        if not isinstance(annotation["category_id"], int):
            repairs.add("number_form")
        return self._names[key]

    def _prompt(
        self,
        image: Mapping[str, Any],
        positives: dict[str, GoldPhrase],
        refused: Unknown,
        lists: Mapping[str, list[str]],
    ) -> tuple[str, list[GoldPhrase]]:
        federated = "neg_category_ids" in image
        self.exhaustive = self.exhaustive and not federated
        self.facts["federated"] = self.facts["federated"] or federated
        unsure = [name for name in lists["not_exhaustive_category_ids"] if name not in positives]
        known = lists["neg_category_ids"] if self._federated else self._all
        # Which image an annotation without one belongs to is not known: classes that are boxed here stay.
        boxless = {*known} - positives.keys()
        unknown = refused.names | refused.among([*known, *positives]) | self._anywhere.among(boxless)
        absent = set(known) - set(unsure) - unknown
        if self._options.negatives == "authors":
            names = [name for name in self._all if name in absent]
            order = drawn(names, list(positives), self._options.seed, str(image["id"]))
            order += [name for name in self._all if name in unknown - positives.keys() - set(unsure)]
        else:
            listed = positives.keys() | absent | (unknown - set(unsure))
            order = [name for name in self._all if name in listed]
        return prompt_of([*order, *unsure], positives, absent, unknown)

    def _listed(self, image: Mapping[str, Any], field: str) -> list[str]:
        """Names of a federated list; an id that no category has says nothing of any name."""
        value = image.get(field, [])
        if not isinstance(value, list):
            raise Refused("field_missing", f"{field} is {type(value).__name__}, expected a list")
        return list(dict.fromkeys(self._names[k] for item in value if (k := id_text(item)) in self._names))

    @property
    def category_ids(self) -> dict[str, str]:
        """The category's name by the text of its id in the file; known when the rows were taken."""
        return dict(self._names)


def is_crowd(annotation: Mapping[str, Any]) -> bool:
    """A region that is there but not as one box to learn from."""
    return bool(annotation.get("iscrowd")) or bool(annotation.get("ignore"))


def file_name_of(image: Mapping[str, Any]) -> str:
    """`file_name`; LVIS has none and means the last two parts of `coco_url`. Raises Refused field_missing."""
    name = image.get("file_name")
    if isinstance(name, str) and name:
        return name
    url = image.get("coco_url")
    if isinstance(url, str) and url.count("/") >= 2:
        return "/".join(url.split("/")[-2:])
    raise Refused("field_missing", f"image {image.get('id')!r} has neither file_name nor coco_url")


def check_split(options: Options, file_name: str, *others: object) -> None:
    """Raise Refused for an image that is not on the wanted list."""
    names = {file_name, PurePosixPath(file_name).name, PurePosixPath(file_name).stem, *map(str, others)}
    if options.split is not None and not names & options.split:
        raise Refused("not_in_split")


def _names(categories: list[Any], path: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    for category in categories:
        key = id_text(category.get("id")) if isinstance(category, dict) else None
        name = category.get("name") if isinstance(category, dict) else None
        if (
            key is None
            or not isinstance(name, str)
            or not is_standard(name)
            or not is_readable(clean(name))
            or key in names
        ):
            raise ConfigError(
                f"{path}: category {str(category)[:80]} has no id and name of its own; nothing can be told of its boxes"
            )
        names[key] = clean(name)
    if not names:
        raise ConfigError(f"{path}: no categories; a file of captions or of results is no detection gold")
    if list(names.values()) == ["object"]:
        raise ConfigError(f"{path}: its one category is 'object': a grounding file; use `gold import mdetr`")
    return names


def _frequency(categories: list[Any]) -> dict[str, list[str]]:
    """LVIS's frequency letters with the names that have them."""
    found: dict[str, list[str]] = {}
    for category in categories:
        if category.get("frequency") in ("r", "c", "f"):
            found.setdefault(category["frequency"], []).append(clean(category["name"]))
    return found


def _licenses(items: list[Any]) -> dict[str, str]:
    rows = [item for item in items if isinstance(item, dict) and id_text(item.get("id"))]
    told = {str(id_text(row["id"])): str(row.get("name") or row.get("url") or "")[:300] for row in rows}
    return {key: name for key, name in told.items() if is_standard(name)}


def _in_order(key: str) -> tuple[int, str]:
    """Ids in the order of their numbers; text after them."""
    return (int(key), "") if key.removeprefix("-").isdecimal() and len(key) < 19 else (2**63, key)


def _meta(image: Mapping[str, Any], not_exhaustive: list[str]) -> dict[str, Any]:
    meta = {"coco_image_id": image["id"], **{f: image[f] for f in _FEDERATED if f in image}}
    return {**meta, "not_exhaustive": not_exhaustive} if not_exhaustive else meta
