"""The human gold of an evaluation, in any format that can be imported."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.exchange.gold.images import open_images
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.guess_format import guess_format
from pipelines.exchange.import_gold import check_options, import_gold
from pipelines.exchange.importers import IMPORTERS
from schemas.errors import ConfigError
from student.gold.boxes import BoxConvention
from student.gold.coco.file import COCO_BOXES


@dataclass(frozen=True)
class Truth:
    """What `student.evaluate.run.evaluate` is given.

    gold:       a COCO file, or a folder of imported gold
    convention: of the boxes of a COCO file, if it is stated
    """

    gold: Path
    images: str | None
    key_map: Path | None
    convention: BoxConvention | None = None
    too_many_refused: tuple[str, ...] = ()


@contextmanager
def open_truth(
    gold: Path, format: str | None, options: ImportOptions, images: str | None, key_map: Path | None
) -> Iterator[Truth]:
    """Yield the gold of an evaluation. A file of another format than COCO is imported into a folder for the time being.

    Raises ConfigError for a format that needs images without any, and for options that the format would ignore.
    """
    if format in (None, "coco") or _is_imported(gold):
        _check_plain(gold, format, options)
        yield Truth(gold, images, key_map, options.state_convention(COCO_BOXES))
        return
    check_options(format, options)
    if images is None and not IMPORTERS.load(format).has_sizes:
        raise ConfigError(f"--gold-format {format} does not state the sizes of images; give --images")
    own = replace(options, images=None if images is None else open_images(images, key_map))
    with tempfile.TemporaryDirectory(prefix="groundswell-truth-") as folder:
        report = import_gold(format, gold, f"{folder}/gold", own)
        yield Truth(Path(folder) / "gold", None, None, None, tuple(report.too_many_refused))


def _is_imported(gold: Path) -> bool:
    return (gold / "view.json").is_file()


def _check_plain(gold: Path, format: str | None, options: ImportOptions) -> None:
    """Raise ConfigError for an option that a COCO file or imported gold leaves without effect."""
    if _is_imported(gold) and format is not None:
        raise ConfigError(f"--gold-format {format}: {gold} is imported gold already; leave it out")
    for option, value in (("--label-map", options.label_map), ("--part", options.part)):
        if value is not None:
            raise ConfigError(f"{option} {value}: it needs --gold-format; {gold} has its classes in itself")
    if format is None and gold.exists() and not _is_imported(gold):
        likely = guess_format(gold)
        if likely not in (None, "coco", "mdetr"):
            raise ConfigError(f"{gold} looks like {likely}, not like COCO; give --gold-format {likely}")
