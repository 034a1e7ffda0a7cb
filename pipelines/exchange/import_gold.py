"""`gold import`: human labels of any format become gold in the form of a view, with an account of every record.

The account is complete before the gold is written, and the gold's manifest has it. The same file, images and options
give the same digest.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from engine.settings import StorageSettings
from engine.view_manifest import ViewKind, ViewManifest
from engine.views import check_no_other_view, write_view
from pipelines.exchange.gold.import_report import GoldReport
from pipelines.exchange.gold.judgment import judge_labels
from pipelines.exchange.gold.options import ImportOptions
from pipelines.exchange.gold.same_picture import SamePictures
from pipelines.exchange.gold.source_ids import write_source_ids
from pipelines.exchange.guess_format import name_likely_format
from pipelines.exchange.importer import Importer, ImportOption
from pipelines.exchange.importers import IMPORTERS
from schemas.digests import digest_of_many, sha256_hex
from schemas.errors import ConfigError, GroundswellError, NotFoundError
from schemas.labeler import NO_SCORE
from schemas.rows import ViewRow
from student.gold.account import AccountReport, ImportAccount
from student.gold.codes import REFUSED

_CHUNK = 4 * 2**20


def import_gold(
    format: str,
    path: Path,
    to: str,
    options: ImportOptions,
    *,
    storage: StorageSettings | None = None,
    progress: Callable[[int], None] | None = None,
    overwrite: bool = False,
) -> GoldReport:
    """Read a file (Flickr30k: a folder) and write it as gold.

    A report with `problems` is of gold that nothing can be learned from. `train` refuses it.

    format:    a name in IMPORTERS, or `module:attribute` of an importer
    overwrite: replace other gold at `to`
    progress:  is called with the number of rows read so far
    Raises ConfigError for an unknown format or a path of another kind, NotFoundError, ConflictError if `to` has other
    gold, and GroundswellError if every record was refused.
    """
    importer = IMPORTERS.load(format)
    check_path(format, importer, path)
    known = _describe_source(format, importer, path, options)
    kind: ViewKind = "gold" if options.origin == "human" else "view"
    if not overwrite:
        check_no_other_view(to, kind=kind, provenance=known, storage=storage)
    account = ImportAccount()
    with tempfile.TemporaryFile() as spool:
        pictures = SamePictures()
        with name_likely_format(format, path):
            reader = importer.open(path, options, account)
            rows, regions = _spool_rows(reader.rows(), spool, pictures, progress)
            records = account.report()
            if not rows:
                raise GroundswellError(f"{path}: no record is left; {describe_refusals(records)}")
        judgment = judge_labels(path, reader, records, regions, options)
        provenance = {
            **known,
            "exhaustive": reader.exhaustive and kind == "gold",
            "facts": {**reader.facts, **_count_repeated(pictures)},
            # Results for the file are joined by its own ids.
            **({"category_ids": reader.category_ids} if reader.category_ids else {}),
            **records,
            **judgment.describe(),
            **(_describe_tool(format, reader.facts) if kind == "view" else {}),
        }
        manifest = write_view(
            to,
            (_set_origin(pictures.reconcile(row), options) for row in _read_spool(spool)),
            kind=kind,
            provenance=provenance,
            storage=storage,
            overwrite=overwrite,
        )
    write_source_ids(to, manifest.digest, getattr(reader, "source_ids", ()), storage)
    return _make_report(manifest, to)


def _describe_source(
    format: str, importer: Importer, path: Path, options: ImportOptions
) -> dict[str, object]:
    """Return what is known of an import before the file is read."""
    return {
        **{"format": format, "source": path.name, "source_digest": _digest_source(path, importer)},
        **{"without_images": options.images is None, "negatives": options.negatives, "seed": options.seed},
        **({} if options.origin == "human" else {"origin": options.origin}),
        **({} if options.part is None else {"part": options.part}),
    }


def check_options(format: str, options: ImportOptions) -> None:
    """Raise ConfigError for an option that the format would ignore."""
    importer, default = IMPORTERS.load(format), ImportOptions()
    given = {
        ImportOption.NEGATIVES: options.negatives != default.negatives,
        ImportOption.LABEL_MAP: options.label_map is not None,
        ImportOption.DIALECT: options.dialect != default.dialect,
        ImportOption.ORIGIN: options.origin != default.origin,
        ImportOption.BOXES: options.form is not None or options.unit is not None,
        ImportOption.MERGE_NAMES: options.merge_names,
        ImportOption.PART: options.part is not None,
    }
    for option, is_given in given.items():
        if is_given and option not in importer.options:
            users = [name for name, other in IMPORTERS.load_all().items() if option in other.options]
            raise ConfigError(f"{option} is for {' and '.join(users)}; leave it out for {format}")


def check_path(format: str, importer: Importer, path: Path) -> None:
    """Raise NotFoundError, or ConfigError for a file where the format is a folder, or the other way round."""
    if not path.exists():
        raise NotFoundError(f"{path}: no such file or folder; correct the path")
    expected, found = (
        "folder" if is_folder else "file" for is_folder in (importer.folder_files, path.is_dir())
    )
    if found != expected:
        raise ConfigError(f"{path} is a {found}; format {format} expects a {expected}")


def _spool_rows(
    rows: Iterator[ViewRow],
    spool: BinaryIO,
    pictures: SamePictures,
    progress: Callable[[int], None] | None,
) -> tuple[int, int]:
    """Write the rows to the spool; return the number of rows, and of regions that are not to be ignored."""
    number = regions = 0
    for number, row in enumerate(rows, start=1):
        spool.write(json.dumps(row).encode() + b"\n")
        pictures.add(row)
        regions += sum(region["fate"] != "ignore" for region in row["regions"])
        if progress is not None:
            progress(number)
    return number, regions


def _read_spool(spool: BinaryIO) -> Iterator[ViewRow]:
    spool.seek(0)
    return (json.loads(line) for line in spool)


def _set_origin(row: ViewRow, options: ImportOptions) -> ViewRow:
    if options.origin == "teacher":
        for region in row["regions"]:
            region["origin"] = "teacher"
    return row


def _describe_tool(format: str, facts: Mapping[str, object]) -> dict[str, object]:
    """Return what a view says of its labels: what their score is, and that no job and no policy made them."""
    return {"score_kind": f"imported.{format}" if facts.get("scores") else NO_SCORE}


def _count_repeated(pictures: SamePictures) -> dict[str, int]:
    repeated = pictures.count_repeated()
    return {"pictures_in_several_records": repeated} if repeated else {}


def describe_refusals(account: AccountReport) -> str:
    """Return how many records of each kind were refused, why, and a first example."""
    refusals = [
        f"{counts['refused']} of {counts['in']} {kind} refused ({', '.join(counts['codes'])})"
        for kind, counts in account["records"].items()
        if counts["refused"]
    ]
    # A record that was refused with its image or line has its reason there.
    codes = REFUSED.keys() - {"image_refused"}
    reasons = {name: some for name, some in account["examples"].items() if name.split()[-1] in codes}
    first = next(iter(reasons), None)
    if first is None:
        return "; ".join(refusals) or "the file has none"
    return f"{'; '.join(refusals)}, e.g. {reasons[first][0]} ({REFUSED[first.split()[-1]]})"


def _digest_source(path: Path, importer: Importer) -> str:
    """Return the digest of a file, or of the names and bytes of a folder's files that the format reads."""
    if path.is_file():
        return "sha256:" + _file_sha256(path)
    files = sorted(file for pattern in importer.folder_files for file in path.glob(pattern))
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


def _make_report(manifest: ViewManifest, to: str) -> GoldReport:
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
        questionable_names=known.get("questionable_names", {}),
        too_many_refused=known.get("too_many_refused", []),
        problems=known.get("problems", []),
    )
