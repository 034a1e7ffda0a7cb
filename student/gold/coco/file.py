"""A COCO-like file of detections, record by record. `gold import` and `evaluate` read it by this one set of rules.

A record that cannot be used is refused with a code, never skipped. The category of a refused box is unknown in its
image: it is neither there nor absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue

from schemas.errors import ConfigError
from student.gold.account import ImportAccount, RecordError, is_encodable
from student.gold.boxes import Box, BoxConvention, is_number, read_box
from student.gold.class_names import (
    QuestionableName,
    find_questionable_names,
    is_readable,
    normalize_name,
    refuse_special_token,
)
from student.gold.coco.store import CocoStore, JsonObject, has_same_type, id_text
from student.gold.off_by_one import OffByOneCheck
from student.gold.plausibility import BoxSurvey
from student.gold.sizes import read_size

COCO_BOXES = BoxConvention("xywh")
FEDERATED_LISTS = ("neg_category_ids", "not_exhaustive_category_ids")


@dataclass(frozen=True)
class CocoBox:
    """An annotation that can be used.

    category: its category's id as text; empty if none was looked for
    box:      xyxy in pixels of the record, inside the image
    score:    as the record has it, unchecked; None if it has none
    area:     in square pixels as the record states it (of a mask, in COCO); None if the box's own counts
    repairs:  codes of what was repaired
    """

    category: str
    box: Box
    area: float | None
    score: JsonValue
    is_crowd: bool
    repairs: frozenset[str]


class CocoFile:
    """Categories, images and boxes of a file. Close it, or use it as a context."""

    def __init__(self, path: Path, account: ImportAccount, convention: BoxConvention | None = None) -> None:
        """Read the file.

        convention: of the boxes, if the user states it. Without it they are xywh pixels, if that is plausible
        Raises NotFoundError; ConfigError for a file without lists of images and annotations, a category without id and
        name of its own, a name that a text model takes for a special token, and for boxes of another convention.
        """
        self._path, self._account = path, account
        self.convention = convention or COCO_BOXES
        self._store = CocoStore(path, account)
        try:
            self.categories = _check_categories(self._store.rest["categories"], path)
            self.names = {str(id_text(one["id"])): str(one["name"]) for one in self.categories}
            self._category_check = OffByOneCheck(self.names)
            self._image_check = OffByOneCheck(dict.fromkeys(self._store.image_ids, ""))
            self._used: set[str] = set()
            self._read_all(convention)
        except BaseException:
            self._store.close()
            raise

    def __enter__(self) -> CocoFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    @property
    def licenses(self) -> list[JsonValue]:
        """The file's licenses, unchecked."""
        return self._store.rest["licenses"]

    @property
    def has_spans(self) -> bool:
        """Whether any annotation is tied to words of a caption."""
        return "tokens_positive" in self._store.annotation_fields

    @property
    def has_scores(self) -> bool:
        """Whether any annotation has a score: then it is the label of a tool."""
        return "score" in self._store.annotation_fields

    @property
    def is_federated(self) -> bool:
        """Whether any image lists the categories that were looked for in it, as in LVIS."""
        return "neg_category_ids" in self._store.image_fields

    @property
    def categories_without_image(self) -> set[str | None]:
        """Ids, as text, of categories of annotations whose image is not known; None for an unreadable category."""
        return self._store.without_image

    @property
    def problems(self) -> list[str]:
        """Reasons why the file cannot be used: ids that are off by one."""
        found = (
            self._category_check.describe_id_problem("category"),
            self._image_check.describe_id_problem("image"),
        )
        return [f"{self._path.name}: {problem}" for problem in found if problem is not None]

    @property
    def questionable_names(self) -> list[QuestionableName]:
        """The names that should not be asked for as absent."""
        parents = [str(one.get("supercategory", "")) for one in self.categories]
        used = {self.names[key] for key in self._used if key in self.names}
        return find_questionable_names(list(dict.fromkeys(self.names.values())), used, parents)

    def images(self) -> Iterator[tuple[JsonObject, list[JsonObject]]]:
        """Yield each image with its annotations, in the file's order; at the end, refuse those of unknown images."""
        return self._store.images()

    def read_box(
        self, annotation: Mapping[str, JsonValue], image: Mapping[str, JsonValue], width: int, height: int
    ) -> CocoBox:
        """Return the box of an annotation.

        width, height: of the image in pixels, 0 if they are not known
        Raises RecordError.
        """
        repairs: set[str] = set()
        category = self._find_category(annotation, repairs)
        box = read_coco_box(annotation, image, (width, height), self.convention)
        return replace(box, category=category, repairs=box.repairs | repairs)

    def find_category_id(self, annotation: Mapping[str, JsonValue]) -> str | None:
        """Return the category of any annotation, as text; None if it names no category of the file."""
        key = id_text(annotation.get("category_id"))
        return key if key in self.names else None

    def read_lists(self, image: Mapping[str, JsonValue]) -> dict[str, list[str]]:
        """Return the ids, as text, of an image's federated lists. An id without a category is left out.

        Raises RecordError field_missing.
        """
        return {field: self._read_list(image, field) for field in FEDERATED_LISTS}

    def _read_list(self, image: Mapping[str, JsonValue], field: str) -> list[str]:
        value = image.get(field, [])
        if not isinstance(value, list):
            raise RecordError("field_missing", f"{field} is {type(value).__name__}, expected a list")
        return list(dict.fromkeys(key for item in value if (key := id_text(item)) in self.names if key))

    def _find_category(self, annotation: Mapping[str, JsonValue], repairs: set[str]) -> str:
        key = self.find_category_id(annotation)
        if key is None:
            raise RecordError("category_unknown", f"{annotation.get('category_id')!r}")
        if not isinstance(annotation["category_id"], int):
            repairs.add("number_form")
        return key

    def _read_all(self, stated: BoxConvention | None) -> None:
        """Read all annotations once, for what they say together."""
        survey = BoxSurvey(self.convention)
        for image, records in self._store.pairs():
            _survey_image(survey, image, records)
            for annotation in records:
                key = id_text(annotation.get("category_id"))
                self._category_check.add(key, None)
                self._used.add(key or "")
        for name in self._store.annotated_ids:
            self._image_check.add(name, None)
        _check_survey(survey, self._path, stated)


def read_coco_box(
    annotation: Mapping[str, JsonValue],
    image: Mapping[str, JsonValue],
    size: tuple[int, int],
    convention: BoxConvention = COCO_BOXES,
) -> CocoBox:
    """Return the box of an annotation of any category.

    size: (width, height) of the image in pixels, 0 if they are not known
    Raises RecordError.
    """
    repairs: set[str] = set()
    value, own_convention = _find_box_value(annotation, convention, repairs)
    box = read_box(value, own_convention, *size, repairs)
    flags = [_read_flag(annotation, name, repairs) for name in ("iscrowd", "ignore")]  # both are checked
    area = _read_area(annotation, repairs)
    if not has_same_type(annotation["image_id"], image["id"]):
        repairs.add("number_form")
    if annotation.get("id_repeated"):
        repairs.add("id_repeated")
    return CocoBox("", box, area, annotation.get("score"), any(flags), frozenset(repairs))


def check_boxes(store: CocoStore, path: Path, stated: BoxConvention | None) -> None:
    """Raise ConfigError if the file's boxes are of another convention than COCO's, unless the user states one."""
    survey = BoxSurvey(stated or COCO_BOXES)
    for image, records in store.pairs():
        _survey_image(survey, image, records)
    _check_survey(survey, path, stated)


def _survey_image(
    survey: BoxSurvey, image: Mapping[str, JsonValue], annotations: Sequence[JsonObject]
) -> None:
    try:
        size = read_size(image, set())
    except RecordError:
        return
    if size is not None:
        for annotation in annotations:
            survey.add(annotation.get("bbox"), *size, annotation.get("area"))


def _check_survey(survey: BoxSurvey, path: Path, stated: BoxConvention | None) -> None:
    problem = None if stated is not None else survey.describe_problem()
    if problem is not None:
        raise ConfigError(f"{path}: {problem}")


def read_image_url(image: Mapping[str, JsonValue]) -> str | None:
    """Return `coco_url`, None if there is none. Raises RecordError field_missing if it is no text."""
    url = image.get("coco_url")
    if url is not None and not isinstance(url, str):
        raise RecordError("field_missing", f"coco_url is {type(url).__name__}, expected text")
    return url


def sort_by_id(key: str) -> tuple[int, str]:
    """Return a sort key of an id as text: numbers in order, then other text."""
    return (int(key), "") if key.removeprefix("-").isdecimal() and len(key) < 19 else (2**63, key)


def _check_categories(categories: Sequence[JsonValue], path: Path) -> list[JsonObject]:
    checked: dict[str, JsonObject] = {}
    for category in categories:
        key = id_text(category.get("id")) if isinstance(category, dict) else None
        name = category.get("name") if isinstance(category, dict) else None
        if (
            not isinstance(category, dict)
            or key is None
            or not isinstance(name, str)
            or not is_encodable(name)
            or not is_readable(normalize_name(name))
            or key in checked
        ):
            raise ConfigError(
                f"{path}: category {str(category)[:80]} has no id and name of its own, so its boxes cannot be used; "
                "expected both for each category"
            )
        refuse_special_token(name, f"{path}: the name of category {key}, {name!r},")
        checked[key] = category
    if not checked:
        raise ConfigError(f"{path}: no categories; a file of captions or of results is not detection gold")
    return list(checked.values())


def _find_box_value(
    annotation: Mapping[str, JsonValue], convention: BoxConvention, repairs: set[str]
) -> tuple[JsonValue, BoxConvention]:
    """Return the box, else the one around the record's polygons."""
    if "segmentation" not in annotation:
        return annotation.get("bbox"), convention
    polygons = annotation["segmentation"]
    rings = polygons if isinstance(polygons, list) and polygons and isinstance(polygons[0], list) else []
    points = [number for ring in rings if isinstance(ring, list) for number in ring]
    numbers = [float(number) for number in points if is_number(number)]
    if (
        len(numbers) != len(points)
        or len(numbers) < 6
        or any(len(r) % 2 for r in rings if isinstance(r, list))
    ):
        return annotation.get("bbox"), convention
    repairs.add("box_from_polygon")
    xs, ys = _split_rings(rings)
    return [min(xs), min(ys), max(xs), max(ys)], BoxConvention("xyxy", convention.unit)


def _split_rings(rings: Sequence[JsonValue]) -> tuple[list[float], list[float]]:
    xs: list[float] = []
    ys: list[float] = []
    for ring in rings:
        assert isinstance(ring, list)
        numbers = [float(number) for number in ring if is_number(number)]
        xs += numbers[::2]
        ys += numbers[1::2]
    return xs, ys


def _read_flag(annotation: Mapping[str, JsonValue], name: str, repairs: set[str]) -> bool:
    """Return whether iscrowd or ignore is set. Raises RecordError flag_bad."""
    value = annotation.get(name, 0)
    if type(value) is int and value in (0, 1):
        return value == 1
    text = str(value).strip().lower()
    if text not in ("0", "1", "0.0", "1.0", "true", "false", "none", ""):
        raise RecordError("flag_bad", f"{name} is {value!r}, expected 0 or 1")
    repairs.add("flag_form")
    return text in ("1", "1.0", "true")


def _read_area(annotation: Mapping[str, JsonValue], repairs: set[str]) -> float | None:
    if "area" not in annotation:
        return None
    area = annotation["area"]
    if is_number(area) and area > 0:
        return float(area)
    repairs.add("area_from_box")
    return None
