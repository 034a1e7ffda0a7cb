"""A view with its images, as self-contained WebDataset tars for trainers elsewhere.

The same view gives the same tars. The image bytes are those that were labeled. The list of tars is written last. A
sample is `<number>.<jpg|png|...>` and `<number>.json`, the view's row. Boxes are in the upright frame: a reader applies
the EXIF rotation that the row names. The folder `view/` next to the tars holds the view with its pixels in these tars,
for `train`.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator, Mapping

from pydantic import Field

from engine.ledger.records import parse_record
from engine.settings import StorageSettings
from engine.storage.store import Store, open_store
from engine.views import View, open_view, write_view
from pipelines.labels.photo import read_photo_bytes
from pipelines.report_base import Report, Table
from schemas.digests import canonical_json, sha256_hex
from schemas.errors import ConflictError
from schemas.ledger import DataFile
from schemas.progress import ProgressCallback
from schemas.rows import PixelsRow, ViewRow

MANIFEST, VIEW_FOLDER = "materialized.json", "view"
SHARD_SAMPLES, SHARD_BYTES = 1000, 256 * 2**20  # a tar ends at whichever comes first
_TAR = re.compile(r"\d{5,}\.tar")
_SIGNATURES = (
    (b"\xff\xd8", "jpg"),
    (b"\x89PNG", "png"),
    (b"RIFF", "webp"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II", "tiff"),
    (b"MM", "tiff"),
)

Placed = tuple[ViewRow, tuple[int, int]]  # a row, offset and length of its image in the tar


class MaterializedReport(Report):
    """The tars of a view."""

    digest: str = Field(description="of the view's rows")
    samples: int
    shards: tuple[DataFile, ...]

    def tables(self) -> list[Table]:
        """Return the report as tables, in reading order."""
        size = sum(shard.size_bytes for shard in self.shards)
        rows = [("samples", f"{self.samples}"), ("tars", f"{len(self.shards)}"), ("bytes", f"{size}")]
        return [Table(f"tars of view {self.digest}", ("what", "number"), rows)]


def materialize_webdataset(
    view_url: str,
    to: str,
    *,
    roots: Mapping[str, str] | None = None,
    storage: StorageSettings | None = None,
    progress: ProgressCallback | None = None,
    overwrite: bool = False,
) -> MaterializedReport:
    """Write a view's rows with their images into tars under `to`.

    overwrite: replace the tars of another view
    Raises NotFoundError for missing images. Raises ConflictError for changed images, or if `to` has another view's
    tars.
    """
    view, store = open_view(view_url, storage), open_store(to, storage)
    _refuse_another(store, view, to, overwrite)
    # All tars, not only those of the list: an interrupted call has removed the list.
    before = {name for name in store.list_folder() if _TAR.fullmatch(name)} if overwrite else set()
    if overwrite:  # without the list there are no tars
        store.delete(MANIFEST)
    shards: list[DataFile] = []

    def rows() -> Iterator[ViewRow]:
        for tar, placed in _build_tars(view, roots, storage, progress):
            shards.append(_put_tar(store, len(shards), tar, len(placed)))
            url = f"{store.url}/{shards[-1].path}"
            for row, place in placed:
                moved = row.copy()
                moved["pixels"] = _make_pixels(url, *place)
                yield moved

    known = {**view.manifest.provenance, "materialized_from": view.manifest.digest}
    write_view(
        f"{store.url}/{VIEW_FOLDER}",
        rows(),
        kind=view.manifest.kind,
        provenance=known,
        storage=storage,
        overwrite=overwrite,
    )
    report = MaterializedReport(digest=view.manifest.digest, samples=len(view), shards=tuple(shards))
    store.put_if_absent(MANIFEST, canonical_json(report.data()))
    for path in before - {shard.path for shard in shards}:
        store.delete(path)
    return report


def _make_pixels(url: str, offset: int, length: int) -> PixelsRow:
    """Return a row's `pixels` for bytes of a tar."""
    return {"url": url, "offset": offset, "length": length, "row_group": None, "row": None, "column": None}


def _refuse_another(store: Store, view: View, to: str, overwrite: bool) -> None:
    """Raise ConflictError if the folder holds another view's tars, unless they are replaced."""
    if overwrite or not store.exists(MANIFEST):
        return
    where, remedy = f"{to}/{MANIFEST}", "choose another folder"
    there = parse_record(MaterializedReport, store.read(MANIFEST), where, "a manifest of tars", remedy).digest
    if there != view.manifest.digest:
        raise ConflictError(
            f"{to} already has the tars of view {there}: choose another folder, or add --overwrite"
        )


def _build_tars(
    view: View,
    roots: Mapping[str, str] | None,
    storage: StorageSettings | None,
    progress: ProgressCallback | None,
) -> Iterator[tuple[bytes, list[Placed]]]:
    """Yield each tar with its rows in order, one in memory at a time."""
    sink, placed = io.BytesIO(), []  # type: tuple[io.BytesIO, list[Placed]]
    for number, row in enumerate(view.rows()):
        image = read_photo_bytes(row, roots, storage)
        if placed and (len(placed) == SHARD_SAMPLES or sink.tell() + len(image) > SHARD_BYTES):
            yield _close_tar(sink), placed
            sink, placed = io.BytesIO(), []
        placed.append((row, (sink.tell() + tarfile.BLOCKSIZE, len(image))))
        _add(sink, f"{number:09d}.{image_suffix(image)}", image)
        _add(sink, f"{number:09d}.json", canonical_json(row))
        if progress:
            progress("samples", number + 1, len(view))
    if placed:
        yield _close_tar(sink), placed


def image_suffix(data: bytes) -> str:
    """Return the member suffix that tells how to decode image bytes. Raises ValueError for an unknown format."""
    for signature, suffix in _SIGNATURES:
        if data.startswith(signature):
            return suffix
    raise ValueError(
        f"image bytes that begin with {data[:8]!r} are of no known format; expected JPEG, PNG, WebP, GIF, BMP or TIFF"
    )


def _add(sink: io.BytesIO, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # owner, group and time stay zero: no clock and no user in the bytes
    member.size = len(data)
    sink.write(member.tobuf(tarfile.USTAR_FORMAT))
    sink.write(data + bytes(-len(data) % tarfile.BLOCKSIZE))


def _close_tar(sink: io.BytesIO) -> bytes:
    return sink.getvalue() + bytes(2 * tarfile.BLOCKSIZE)


def _put_tar(store: Store, number: int, data: bytes, samples: int) -> DataFile:
    path = f"{number:05d}.tar"
    store.put(path, data)
    return DataFile(path=path, size_bytes=len(data), sha256=sha256_hex(data), rows=samples)
