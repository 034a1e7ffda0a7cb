"""COCO, LVIS and Objects365 detection boxes as gold, one row an image.

All categories without a box are known to be absent, unless images list their own negatives (LVIS). Then only those are
absent, and the lists stay in `meta`. If a category is not boxed exhaustively, `meta` says so. A category of which an
annotation was refused is unknown in that image: unresolved, never absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from pipelines.exchange.gold.box_frames import Frame, make_frame
from pipelines.exchange.gold.category_prompt import UnknownClasses, build_prompt, draw_names
from pipelines.exchange.gold.file_marks import has_lists, has_spans
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.gold.records import check_split, require_file_name
from pipelines.exchange.gold.rows import GoldPhrase, RowBuilder
from pipelines.exchange.gold.scores import BoxScores
from pipelines.exchange.gold.source_ids import BoxIds
from pipelines.exchange.importer import Importer, ImportOption
from schemas.errors import ConfigError
from schemas.rows import ViewRow
from student.gold.account import ImportAccount, RecordError, code_of_contents, is_encodable
from student.gold.class_names import QuestionableName, is_readable, merge_names, normalize_name
from student.gold.coco.file import COCO_BOXES, FEDERATED_LISTS, CocoFile, read_image_url, sort_by_id
from student.gold.coco.store import JsonObject, id_text


class CocoReader:
    """Rows of a COCO-like detection file."""

    def __init__(self, path: Path, options: ImportOptions, account: ImportAccount) -> None:
        self._path, self._options, self._account = path, options, account
        self.exhaustive = True
        self.facts: dict[str, object] = {}
        self.source_ids: BoxIds = ()
        self.problems: list[str] = []
        self.questionable_names: list[QuestionableName] = []

    def rows(self) -> Iterator[ViewRow]:
        """Yield one row per image in the order of the file. Raises ConfigError for a file without categories."""
        with CocoFile(self._path, self._account, self._options.state_convention(COCO_BOXES)) as file:
            self._open(file)
            builder = RowBuilder(self._options.images_url)
            self.source_ids = builder.source_ids
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
            self.facts |= {"scores": self._scores.number} if self._scores.has_scores else {}

    def _open(self, file: CocoFile) -> None:
        if file.has_spans and list(file.names.values()) == ["object"]:
            raise ConfigError(
                f"{self._path}: its one category is 'object' and its boxes are tied to words of captions: a grounding "
                "file; use `gold import mdetr`"
            )
        self._file = file
        merged = merge_names(file.names.values(), by_case=self._options.merge_names)
        self._names = {key: merged[name] for key, name in file.names.items()}
        self._all = list(dict.fromkeys(self._names[key] for key in sorted(self._names, key=sort_by_id)))
        self._licenses = _read_licenses(file.licenses)
        self.problems = file.problems
        self.questionable_names = [
            one
            for one in file.questionable_names
            if one.reason != "case_twin" or not self._options.merge_names
        ]
        self._scores = BoxScores(self._options, has_scores=file.has_scores)
        self._not_asked = {merged[one.name] for one in self.questionable_names}
        self.facts = {"categories": len(self._names), "names": len(self._all), "federated": False}
        self._anywhere = UnknownClasses()
        for category in file.categories_without_image:
            self._anywhere.add(self._names.get(category or ""))
        if frequency := _read_frequencies(file.categories, self._names):
            self.facts["frequency"] = frequency
        if broader := _read_relations(file.categories):
            self.facts["broader"] = broader

    def _build_row(self, builder: RowBuilder, image: JsonObject, annotations: list[JsonObject]) -> ViewRow:
        name = require_file_name(image, self._options)
        check_split(self._options, name, image["id"])
        frame = make_frame(image, name, self._options.images)
        source_url = read_image_url(image)
        lists = self._read_lists(image)
        positives, refused = self._read_positives(image, annotations, frame)
        caption, phrases = self._build_prompt(image, positives, refused, lists)
        if not phrases:
            raise RecordError("nothing_to_learn", name)
        unknown = [phrase for phrase in phrases if phrase.unknown]
        self._account.add_unknown(len(unknown))
        partly = [p.root for p in unknown if p.boxes or p.ignored or p.root in self._not_asked]
        if "caption" in image:
            self.facts["captions_left"] = int(str(self.facts.get("captions_left", 0))) + 1
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
        for annotation in sorted(annotations, key=lambda a: sort_by_id(id_text(a.get("category_id")) or "")):
            try:
                own = self._file.read_box(annotation, image, frame.width, frame.height)
                box = frame.place(own.box)
                score = self._scores.read(own.score)
            except RecordError as refused:
                self._account.refuse("annotations", annotation.get("id"), refused.code, refused.detail)
                unknown.add(self._names.get(self._file.find_category_id(annotation) or ""))
                continue
            name = self._names[own.category]
            phrase = found.setdefault(name, GoldPhrase(0, 0, name))
            phrase.add_box(box, score, is_ignored=own.is_crowd, source_id=id_text(annotation.get("id")))
            self._account.keep("annotations", annotation.get("id"), own.repairs)
        return found, unknown

    def _build_prompt(
        self,
        image: Mapping[str, JsonValue],
        positives: dict[str, GoldPhrase],
        refused: UnknownClasses,
        lists: Mapping[str, list[str]],
    ) -> tuple[str, list[GoldPhrase]]:
        if self._options.origin == "teacher":  # a tool does not say what it looked for in vain
            unknown = refused.names | refused.select(positives)
            return build_prompt(
                [n for n in self._all if n in positives.keys() | unknown], positives, (), unknown
            )
        federated = "neg_category_ids" in image
        self.exhaustive = self.exhaustive and not federated
        self.facts["federated"] = self.facts["federated"] or federated
        unsure = [name for name in lists["not_exhaustive_category_ids"] if name not in positives]
        known = lists["neg_category_ids"] if self._file.is_federated else self._all
        # The image of an annotation without image_id is not known. Classes that are boxed here stay.
        boxless = {*known} - positives.keys()
        unknown = refused.names | refused.select([*known, *positives]) | self._anywhere.select(boxless)
        absent = set(known) - set(unsure) - unknown - self._not_asked
        unresolved = (unknown | (self._not_asked & set(known))) - positives.keys()
        if self._options.negatives == "authors":
            names = [name for name in self._all if name in absent]
            order = draw_names(names, list(positives), self._options.seed, str(image["id"]))
            order += [name for name in self._all if name in unresolved - set(unsure)]
        else:
            listed = positives.keys() | absent | (unresolved - set(unsure))
            order = [name for name in self._all if name in listed]
        return build_prompt([*order, *unsure], positives, absent, unknown)

    def _read_lists(self, image: Mapping[str, JsonValue]) -> dict[str, list[str]]:
        """Return the names of an image's federated lists."""
        lists = self._file.read_lists(image)
        return {field: list(dict.fromkeys(self._names[key] for key in keys)) for field, keys in lists.items()}

    @property
    def category_ids(self) -> dict[str, str]:
        """The category's name by the text of its id in the file."""
        return dict(self._names)


def _read_frequencies(categories: Sequence[JsonObject], names: Mapping[str, str]) -> dict[str, list[str]]:
    """Return LVIS's frequency letters with the names that have them."""
    found: dict[str, list[str]] = {}
    for category in categories:
        letter = category.get("frequency")
        if isinstance(letter, str) and letter in ("r", "c", "f"):
            found.setdefault(letter, []).append(names[str(id_text(category["id"]))])
    return found


def _read_relations(categories: Sequence[JsonObject]) -> dict[str, list[str]]:
    """Return what else is true of each name's boxes: LVIS's synonyms, each for all others, and supercategories."""
    found: dict[str, list[str]] = {}
    for category in categories:
        name, parent, synonyms = (category.get(key) for key in ("name", "supercategory", "synonyms"))
        equal = _read_texts([name, *(synonyms if isinstance(synonyms, list) else ())])
        for one in equal:
            found.setdefault(one, []).extend(_read_texts([*equal, parent]))
    unique = {
        name: [other for other in dict.fromkeys(others) if other != name] for name, others in found.items()
    }
    return {name: others for name, others in unique.items() if others}


def _read_texts(values: list[JsonValue]) -> list[str]:
    """Return the readable names among some values of a foreign file."""
    texts = [normalize_name(one) for one in values if isinstance(one, str) and is_encodable(one)]
    return [text for text in texts if is_readable(text)]


def _read_licenses(items: list[JsonValue]) -> dict[str, str]:
    rows = [item for item in items if isinstance(item, dict) and id_text(item.get("id"))]
    names = {str(id_text(row["id"])): str(row.get("name") or row.get("url") or "")[:300] for row in rows}
    return {key: name for key, name in names.items() if is_encodable(name)}


def _make_meta(image: Mapping[str, JsonValue], not_exhaustive: list[str]) -> dict[str, object]:
    meta: dict[str, object] = {"coco_image_id": image["id"]}
    meta.update({field: image[field] for field in FEDERATED_LISTS if field in image})
    return {**meta, "not_exhaustive": not_exhaustive} if not_exhaustive else meta


def _recognize(path: Path) -> bool:
    return has_lists(path, "images", "annotations") and not has_spans(path)


ENTRY = Importer(
    CocoReader,
    frozenset({ImportOption.NEGATIVES, ImportOption.BOXES, ImportOption.MERGE_NAMES, ImportOption.ORIGIN}),
    recognize=_recognize,
)
