"""YOLO: a data.yaml with class names, and one text file of boxes per image, as fractions of its sides.

An empty file says that nothing is in its image. Without a file nothing is known of the image, so it is refused. A line
of a polygon or a turned box gives the box around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from engine.reading.user_text import read_text
from pipelines.exchange.gold.detection_rows import DetectionReader, LabeledImage, LabeledObject
from pipelines.exchange.gold.file_marks import read_head
from pipelines.exchange.importer import Importer, ImportOption
from schemas.errors import ConfigError, NotFoundError
from student.gold.account import RecordError, is_encodable
from student.gold.boxes import BoxConvention
from student.gold.class_names import is_readable, normalize_name

PARTS = ("train", "val", "test")
MAX_FILE_BYTES = 4_000_000
_IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


class YoloReader(DetectionReader):
    """Rows of the parts (train, val, test) that a data.yaml names."""

    usual = BoxConvention("cxcywh", "fraction")
    states_sizes = False

    def read_classes(self) -> Sequence[str]:
        """Return the names in the order of their indices."""
        return list(self._names.values())

    @property
    def category_ids(self) -> dict[str, str]:
        """The class's name by its index as text."""
        return {index: self._merged[name] for index, name in self._names.items()}

    def read_images(self) -> Iterator[LabeledImage]:
        """Yield the images of each part in the order of their names."""
        for part in self._parts:
            for image in self._list_images(part):
                yield self._read_image(image, part)

    @cached_property
    def _data(self) -> Mapping[str, object]:
        try:
            value = YAML(typ="safe", pure=True).load(read_text(self._path, "data.yaml"))
        except (YAMLError, RecursionError) as error:
            raise ConfigError(f"{self._path}: not YAML: {error}") from error
        if not isinstance(value, dict):
            raise ConfigError(
                f"{self._path}: {type(value).__name__}, expected the fields names, train and val"
            )
        return value

    @cached_property
    def _names(self) -> dict[str, str]:
        """The class names by index as text."""
        value = self._data.get("names")
        pairs = (
            value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
        )
        names = {str(index): name for index, name in pairs}
        if not names or not all(
            isinstance(name, str) and is_encodable(name) and is_readable(normalize_name(name))
            for name in names.values()
        ):
            raise ConfigError(
                f"{self._path}: names is {str(value)[:80]}, expected a list of readable class names"
            )
        return names

    @cached_property
    def _parts(self) -> list[str]:
        wanted = [self._options.part] if self._options.part else PARTS
        parts = [part for part in wanted if self._data.get(part)]
        if not parts:
            raise ConfigError(
                f"{self._path}: names no {' or '.join(wanted)}, expected a folder of images there"
            )
        return parts

    def _list_images(self, part: str) -> list[PurePosixPath]:
        """Return the images of a part relative to the data set's folder, also those that only have a label file.

        Raises ConfigError for a folder outside the one of the data.yaml, NotFoundError for one that does not exist.
        """
        value = self._data[part]
        found: set[PurePosixPath] = set()
        for place in value if isinstance(value, list) else [value]:
            path = self._find_place(str(place), part)
            if path.is_file():
                found |= self._read_list(path)
                continue
            images = {
                self._shorten(file) for file in path.rglob("*") if file.suffix.lower() in _IMAGE_SUFFIXES
            }
            known = {image.with_suffix("") for image in images}
            labels = self._root / _find_label_path(self._shorten(path) / "x").parent
            orphans = {self._shorten(file) for file in labels.rglob("*.txt")} if labels != path else set()
            lost = {_find_image_path(label) for label in orphans}
            found |= images | {image for image in lost if image.with_suffix("") not in known}
        return sorted(found)

    @property
    def _root(self) -> Path:
        return self._path.parent

    def _find_place(self, value: str, part: str) -> Path:
        """Return a folder or list of images. The well-known exports write `../train/images` for `train/images`."""
        base = str(self._data.get("path") or "")
        for prefix in (base, ""):
            path = self._root / _drop_climbs(f"{prefix}/{value}")
            if path.exists() and path.resolve().is_relative_to(self._root.resolve()):
                return path
        raise NotFoundError(
            f"{self._path}: {part} is {value!r}, which is not below {self._root}; put data.yaml into the folder of the "
            "data set, or correct it"
        )

    def _read_list(self, path: Path) -> set[PurePosixPath]:
        lines = (line.strip().replace("\\", "/") for line in read_text(path, "list of images").splitlines())
        return {
            PurePosixPath(*[p for p in PurePosixPath(line).parts if p not in ("..", "/")])
            for line in lines
            if line
        }

    def _shorten(self, path: Path) -> PurePosixPath:
        return PurePosixPath(path.relative_to(self._root).as_posix())

    def _read_image(self, image: PurePosixPath, part: str) -> LabeledImage:
        name, labels = str(image), self._root / _find_label_path(image)
        if not is_encodable(name):
            return LabeledImage(ascii(name), refused=RecordError("value_bad", ascii(name)))
        if not labels.is_file():
            return LabeledImage(name, refused=RecordError("labels_missing", str(_find_label_path(image))))
        try:
            text = _read_label_file(labels)
        except RecordError as refused:
            return LabeledImage(name, refused=refused)
        lines = [(n, line.split()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
        objects = [self._read_line(fields, f"{_find_label_path(image)} line {n}") for n, fields in lines]
        return LabeledImage(name, objects, meta={"yolo_part": part})

    def _read_line(self, fields: Sequence[str], where: str) -> LabeledObject:
        sides = [number for field in fields[1:] if (number := _parse_number(field)) is not None]
        index = fields[0].removesuffix(".0")
        name = self._names.get(index)
        if name is None:
            return LabeledObject(
                where, None, None, refused=RecordError("category_unknown", f"index {fields[0]}")
            )
        if len(sides) < 4 or len(sides) != len(fields) - 1:
            return LabeledObject(
                where, name, None, refused=RecordError("box_not_numbers", " ".join(fields)[:80])
            )
        if len(sides) <= 5 or "kpt_shape" in self._data:
            return LabeledObject(where, name, list(sides[:4]), sides[4] if len(sides) == 5 else None)
        if len(sides) % 2:
            return LabeledObject(
                where, name, None, refused=RecordError("box_not_numbers", " ".join(fields)[:80])
            )
        xs, ys = sides[::2], sides[1::2]
        left, top, width, height = min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
        return LabeledObject(where, name, [left + width / 2, top + height / 2, width, height])


def _drop_climbs(path: str) -> PurePosixPath:
    """Return a path without `..` and without a root: it stays below the folder that it is joined to."""
    return PurePosixPath(
        *[part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    )


def _find_label_path(image: PurePosixPath) -> PurePosixPath:
    """Return where an image's labels are: the last folder `images` of its path is `labels` there."""
    return _replace_folder(image, "images", "labels").with_suffix(".txt")


def _find_image_path(labels: PurePosixPath) -> PurePosixPath:
    """Return the name of the image of a label file without one: its suffix is not known."""
    return _replace_folder(labels, "labels", "images").with_suffix(".jpg")


def _replace_folder(path: PurePosixPath, was: str, now: str) -> PurePosixPath:
    """Return a path with another name for the last of its folders that has this one."""
    parts = list(path.parts)
    places = [place for place, part in enumerate(parts[:-1]) if part == was]
    if places:
        parts[places[-1]] = now
    return PurePosixPath(*parts)


def _read_label_file(path: Path) -> str:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise RecordError("labels_bad", f"{path.name}: more than {MAX_FILE_BYTES} bytes")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError("labels_bad", f"{path.name}: {error}") from error


def _parse_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _recognize(path: Path) -> bool:
    return path.suffix in (".yaml", ".yml") and any(
        line.startswith("names") for line in read_head(path).splitlines()
    )


ENTRY = Importer(
    YoloReader,
    frozenset(
        {
            ImportOption.NEGATIVES,
            ImportOption.BOXES,
            ImportOption.MERGE_NAMES,
            ImportOption.ORIGIN,
            ImportOption.PART,
        }
    ),
    recognize=_recognize,
    has_sizes=False,
)
