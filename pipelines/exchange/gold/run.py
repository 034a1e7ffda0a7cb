"""`gold import`: any of the formats becomes gold in the view's own form, with an account of every record.

Promise: the account is complete before the gold is written, and stands in its manifest; the same file, images and
options give the same digest.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from engine.settings import StorageSettings
from engine.views import ViewManifest, refuse_another_view, write_view
from pipelines.exchange.gold.account import Tally
from pipelines.exchange.gold.options import Options
from pipelines.exchange.gold.report import GoldReport
from pipelines.exchange.importers.coco import CocoGold
from pipelines.exchange.importers.flickr30k import FlickrGold
from pipelines.exchange.importers.mdetr import MdetrGold
from pipelines.exchange.importers.odvg import OdvgGold
from schemas.digests import digest_of_many, sha256_hex
from schemas.errors import ConfigError, GroundswellError, NotFound
from student.data.gold_account import describe_refused_boxes

_CHUNK = 4 * 2**20


class Importer(Protocol):
    """Reads one format. `exhaustive` and `facts` are known when the rows were taken."""

    facts: dict[str, Any]

    @property
    def problems(self) -> Sequence[str]:
        """Why the gold cannot be used as it was read, each with its remedy; known when the rows were taken."""
        ...

    @property
    def exhaustive(self) -> bool:
        """Whether what a row does not name, or names as absent, is known not to be in its image."""
        ...

    def rows(self) -> Iterator[dict[str, Any]]:
        """Rows of the view's form, in order."""
        ...


IMPORTERS: dict[str, Callable[[Path, Options, Tally], Importer]] = {
    "coco": CocoGold,
    "mdetr": MdetrGold,
    "flickr30k": FlickrGold,
    "odvg": OdvgGold,
}


def import_gold(
    format: str,
    path: Path,
    to: str,
    options: Options,
    *,
    storage: StorageSettings | None = None,
    tell: Callable[[int], None] | None = None,
    overwrite: bool = False,
) -> GoldReport:
    """Read a file (Flickr30k: a folder) and write it as gold.

    A report with `problems` is of gold that nothing can be learned from; `train` refuses it.

    overwrite: replace other gold that is at `to`
    tell:   is called with the number of rows read so far
    raises: ConfigError for an unknown format or a file of another kind, NotFound, Conflict where other gold stands,
            GroundswellError when no record is left
    """
    _check_path(format, path)
    known = {
        **{"format": format, "source": path.name, "source_digest": _digest(path)},
        **{"without_images": options.images is None, "negatives": options.negatives, "seed": options.seed},
    }
    if not overwrite:
        refuse_another_view(to, kind="gold", provenance=known, storage=storage)
    tally = Tally()
    importer = IMPORTERS[format](path, options, tally)
    with tempfile.TemporaryFile() as spool:
        rows, regions = _spooled(importer.rows(), spool, tell)
        account = tally.report()
        if not rows:
            raise GroundswellError(f"{path}: no record is left; {_reasons(account)}")
        refused = describe_refused_boxes(regions, account)
        problems = [*importer.problems, *([f"{path.name}: {refused}"] if refused else [])]
        provenance = {
            **known,
            **{"exhaustive": importer.exhaustive, "facts": importer.facts},
            # results for the file are joined by its own ids
            **({"category_ids": ids} if (ids := getattr(importer, "category_ids", None)) else {}),
            **account,
            **({"problems": problems} if problems else {}),
        }
        manifest = write_view(
            to, _again(spool), kind="gold", provenance=provenance, storage=storage, overwrite=overwrite
        )
    return _report(manifest, to)


def _check_path(format: str, path: Path) -> None:
    if format not in IMPORTERS:
        raise ConfigError(f"gold import {format}: expected one of {', '.join(IMPORTERS)}")
    if not path.exists():
        raise NotFound(f"{path}: no such file or folder")
    if path.is_dir() != (format == "flickr30k"):
        raise ConfigError(f"{path}: {format} is read from a {'folder' if format == 'flickr30k' else 'file'}")


def _spooled(
    rows: Iterator[dict[str, Any]], spool: BinaryIO, tell: Callable[[int], None] | None
) -> tuple[int, int]:
    """Write the rows to the spool; return how many rows they are, and how many regions that are not to be ignored."""
    number = regions = 0
    for number, row in enumerate(rows, start=1):
        spool.write(json.dumps(row).encode() + b"\n")
        regions += sum(region["fate"] != "ignore" for region in row["regions"])
        if tell is not None:
            tell(number)
    return number, regions


def _again(spool: BinaryIO) -> Iterator[dict[str, Any]]:
    spool.seek(0)
    return (json.loads(line) for line in spool)


def _reasons(account: dict[str, Any]) -> str:
    told = [
        f"{told['refused']} of {told['in']} {kind} refused ({', '.join(told['codes'])})"
        for kind, told in account["records"].items()
        if told["refused"]
    ]
    # of what went with its image or line, the reason is told there
    reasons = {name: some for name, some in account["examples"].items() if not name.endswith("image_refused")}
    first = next((f", e.g. {some[0]}" for some in reasons.values()), "")
    return ("; ".join(told) or "the file holds none") + first


def _digest(path: Path) -> str:
    """Over the file, or over the names and bytes of the sentences and annotations of a folder."""
    if path.is_file():
        return "sha256:" + _file_sha256(path)
    files = sorted(
        [*path.glob("Sentences/*.txt"), *path.glob("Annotations/*.xml"), *path.glob("UNRELATED_CAPTIONS")]
    )
    return digest_of_many(
        sha256_hex(f"{file.relative_to(path).as_posix()} {_file_sha256(file)}".encode())
        for file in files
        if file.is_file()
    )


def _file_sha256(path: Path) -> str:
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest()


def _report(manifest: ViewManifest, to: str) -> GoldReport:
    known = manifest.provenance
    return GoldReport(
        format=known["format"],
        to=to,
        digest=manifest.digest,
        rows=manifest.rows,
        phrases=manifest.phrases,
        regions=manifest.regions,
        exhaustive=known["exhaustive"],
        without_images=known["without_images"],
        facts=known["facts"],
        records=known["records"],
        examples=known["examples"],
        unknown=known.get("unknown", 0),
        problems=known.get("problems", []),
    )
