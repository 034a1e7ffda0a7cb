"""Pascal VOC: one XML file per image, its boxes 1-based and inclusive.

All classes that any file of the folder names were looked for in every image. A `difficult` object is there, but is no
box to learn from, as in VOC's own evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree

from pydantic import JsonValue

from pipelines.exchange.gold.detection_rows import DetectionReader, LabeledImage, LabeledObject
from pipelines.exchange.gold.xml_file import parse_number, read_xml
from pipelines.exchange.importer import Importer, ImportOption
from schemas.errors import NotFoundError
from student.gold.account import RecordError, is_encodable
from student.gold.class_names import is_readable, normalize_name

_FLAGS = {"0": False, "1": True, "": False}


class VocReader(DetectionReader):
    """Rows of a folder with Annotations/*.xml, or of *.xml files themselves."""

    def read_classes(self) -> Sequence[str]:
        """Return all names that a file of the folder has, in alphabetical order."""
        return sorted({one.name for image in self.read_images() for one in image.objects if one.name})

    def read_images(self) -> Iterator[LabeledImage]:
        """Yield one image per file, in the order of their names. Raises NotFoundError for a folder without any."""
        if not self._files:
            raise NotFoundError(
                f"{self._path}: no *.xml, neither there nor in Annotations/; expected Pascal VOC"
            )
        return map(self._read_image, self._files)

    @cached_property
    def _files(self) -> list[Path]:
        found = sorted((self._path / "Annotations").glob("*.xml")) or sorted(self._path.glob("*.xml"))
        return [file for file in found if file.is_file()]

    def _read_image(self, path: Path) -> LabeledImage:
        try:
            root = read_xml(path)
        except RecordError as refused:
            return LabeledImage(path.name, refused=refused)
        name = (root.findtext("filename") or "").strip() or path.stem
        if not is_encodable(name):
            return LabeledImage(path.name, refused=RecordError("value_bad", repr(name)))
        record: dict[str, JsonValue] = {
            side: _parse_side(text) for side in ("width", "height") if (text := root.findtext(f"size/{side}"))
        }
        first = 1 if self._convention.unit == "px" else 0  # pixels count from 1, fractions from 0
        items = enumerate(root.findall("object"))
        return LabeledImage(
            name, [_read_object(item, f"{path.name} object {n}", first) for n, item in items], record
        )


def _parse_side(text: str) -> JsonValue:
    number = parse_number(text)
    return text if number is None else number


def _read_object(item: ElementTree.Element, where: str, first: int) -> LabeledObject:
    name = " ".join((item.findtext("name") or "").split())
    if not is_readable(normalize_name(name)):
        return LabeledObject(where, None, None, refused=RecordError("category_missing", f"{name!r}"))
    flag = (item.findtext("difficult") or "").strip()
    if flag not in _FLAGS:
        return LabeledObject(where, name, None, refused=RecordError("flag_bad", f"difficult is {flag!r}"))
    place = item.find("bndbox")
    sides = ("xmin", "ymin", "xmax", "ymax")
    box: list[JsonValue] = [None if place is None else parse_number(place.findtext(side)) for side in sides]
    # inclusive to half-open
    moved = [side - first if n < 2 and isinstance(side, float) else side for n, side in enumerate(box)]
    return LabeledObject(where, name, moved, is_ignored=_FLAGS[flag])


def _recognize(path: Path) -> bool:
    if not path.is_dir() or (path / "Sentences").is_dir():
        return False
    return any(True for pattern in ("Annotations/*.xml", "*.xml") for _ in path.glob(pattern))


ENTRY = Importer(
    VocReader,
    frozenset({ImportOption.NEGATIVES, ImportOption.BOXES, ImportOption.MERGE_NAMES}),
    folder_files=("Annotations/*.xml", "*.xml"),
    recognize=_recognize,
)
