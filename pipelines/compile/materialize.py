"""A view with its photographs, as self-contained WebDataset tars for trainers elsewhere.

Its promise: the same view gives the same tars, the image bytes are those that were labelled, and the list of tars
is written last. A sample is `<number>.<jpg|png|...>` and `<number>.json`, the view's row. Boxes are in the upright
frame: a reader applies the EXIF turn that the row names. Beside the tars lies `view/`, the view with its pixels in
these tars, for `train`.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from engine.ledger.records import parse_record
from engine.settings import StorageSettings
from engine.storage.store import Store, open_store
from engine.views import View, open_view, write_view
from pipelines.labels.photo import read_photo_bytes
from pipelines.labels.tables import Report, Table
from schemas.digests import canonical_json, sha256_hex
from schemas.errors import ConflictError
from schemas.ledger import DataFile
from schemas.progress import ProgressCallback
from schemas.records import Pixels

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

Held = tuple[dict[str, Any], tuple[int, int]]  # a row, where its image begins in the tar and how long it is


class Materialized(Report):
    """The tars of a view."""

    digest: str = Field(description="of the view's rows")
    samples: int
    shards: tuple[DataFile, ...]

    def tables(self) -> list[Table]:
        """The report as tables, in reading order."""
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
) -> Materialized:
    """Write a view's rows with their images into tars under `to`.

    overwrite: replace the tars of another view that stand there
    Raises NotFoundError for images that are gone, ConflictError for images that changed, or where another view's tars
    stand.
    """
    view, store = open_view(view_url, storage), open_store(to, storage)
    _refuse_another(store, view, to, overwrite)
    # All tars, not those of the list: an earlier call that was cut short has removed it.
    before = {name for name in store.list_folder() if _TAR.fullmatch(name)} if overwrite else set()
    if overwrite:  # the list is written last: without it there are no tars
        store.delete(MANIFEST)
    shards: list[DataFile] = []

    def rows() -> Iterator[dict[str, Any]]:
        for tar, held in _tars(view, roots, storage, progress):
            shards.append(_put_tar(store, len(shards), tar, len(held)))
            url = f"{store.url}/{shards[-1].path}"
            yield from ({**row, "pixels": pixels(url, *place)} for row, place in held)

    known = {**view.manifest.provenance, "materialized_from": view.manifest.digest}
    write_view(
        f"{store.url}/{VIEW_FOLDER}",
        rows(),
        kind=view.manifest.kind,
        provenance=known,
        storage=storage,
        overwrite=overwrite,
    )
    report = Materialized(digest=view.manifest.digest, samples=len(view), shards=tuple(shards))
    store.put_if_absent(MANIFEST, canonical_json(report.data()))
    for path in before - {shard.path for shard in shards}:
        store.delete(path)
    return report


def pixels(url: str, offset: int, length: int) -> dict[str, Any]:
    """A row's `pixels` for bytes of a tar."""
    return Pixels(url=url, offset=offset, length=length).model_dump()


def _refuse_another(store: Store, view: View, to: str, overwrite: bool) -> None:
    """Raise ConflictError where another view's tars stand, unless they are replaced."""
    if overwrite or not store.exists(MANIFEST):
        return
    where, remedy = f"{to}/{MANIFEST}", "choose another folder"
    there = parse_record(Materialized, store.read(MANIFEST), where, "a manifest of tars", remedy).digest
    if there != view.manifest.digest:
        raise ConflictError(
            f"{to} already holds the tars of view {there}: choose another folder, or add --overwrite"
        )


def _tars(
    view: View,
    roots: Mapping[str, str] | None,
    storage: StorageSettings | None,
    progress: ProgressCallback | None,
) -> Iterator[tuple[bytes, list[Held]]]:
    """Each tar with its rows in order, one in memory at a time."""
    sink, held = io.BytesIO(), []  # type: tuple[io.BytesIO, list[Held]]
    for number, row in enumerate(view.rows()):
        image = read_photo_bytes(row, roots, storage)
        if held and (len(held) == SHARD_SAMPLES or sink.tell() + len(image) > SHARD_BYTES):
            yield _ended(sink), held
            sink, held = io.BytesIO(), []
        held.append((row, (sink.tell() + tarfile.BLOCKSIZE, len(image))))
        _add(sink, f"{number:09d}.{image_suffix(image)}", image)
        _add(sink, f"{number:09d}.json", canonical_json(row))
        if progress:
            progress("samples", number + 1, len(view))
    if held:
        yield _ended(sink), held


def image_suffix(data: bytes) -> str:
    """The member suffix that says how image bytes are to be decoded. Raises ValueError for unknown ones."""
    for signature, suffix in _SIGNATURES:
        if data.startswith(signature):
            return suffix
    raise ValueError(f"image bytes that begin with {data[:8]!r} are of no format that we label")


def _add(sink: io.BytesIO, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # owner, group and time stay zero: no clock and no user in the bytes
    member.size = len(data)
    sink.write(member.tobuf(tarfile.USTAR_FORMAT))
    sink.write(data + bytes(-len(data) % tarfile.BLOCKSIZE))


def _ended(sink: io.BytesIO) -> bytes:
    return sink.getvalue() + bytes(2 * tarfile.BLOCKSIZE)


def _put_tar(store: Store, number: int, data: bytes, samples: int) -> DataFile:
    path = f"{number:05d}.tar"
    store.put(path, data)
    return DataFile(path=path, size_bytes=len(data), sha256=sha256_hex(data), rows=samples)
