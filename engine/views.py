"""Views and gold on disk: rows of labels in Parquet parts, and a manifest that is written last.

A view is identified by the digest of its rows in their order. Equal rows give an equal digest and equal files. A view
without a manifest does not exist, and a row that breaks the rules of the records is never written.
Layout: `DIR/view.json` and `DIR/data/<part, 5 digits>-<sha256, 16 digits>.parquet`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import get_args

import pyarrow as pa

from engine.ledger.records import parse_record
from engine.settings import StorageSettings
from engine.storage.safe_parquet import read_table, table_bytes
from engine.storage.store import Store, open_store
from engine.view_manifest import ViewKind, ViewManifest
from schemas.arrow import VIEW, build_table
from schemas.digests import canonical_json, sha256_hex, shorten_digest
from schemas.errors import ConflictError, GroundswellError, NotFoundError
from schemas.ledger import DataFile
from schemas.records import Origin, PhraseFate, PhraseKind, RegionFate
from schemas.rows import ViewPhraseRow, ViewRegionRow, ViewRow, rows_of
from schemas.spans import check_span

MANIFEST = "view.json"
ROWS_PER_PART = 2048

_NESTED = {
    name: {field.name for field in VIEW.field(name).type.value_type} for name in ("phrases", "regions")
}
_ALLOWED = {
    "phrase fate": set(get_args(PhraseFate)),
    "phrase kind": set(get_args(PhraseKind)),
    "region fate": set(get_args(RegionFate)),
    "origin": set(get_args(Origin)),
}


class InvalidRowError(GroundswellError):
    """A row breaks the rules of the records. Who reads or writes the row adds what to do."""

    def __init__(self, row: ViewRow, reason: str) -> None:
        super().__init__(f"{row.get('unit')} index {row.get('index')} ({row.get('key')}): {reason}")


class View:
    """An open view or gold. Every part is checked against the manifest when it is read."""

    def __init__(self, store: Store, manifest: ViewManifest) -> None:
        self._store, self.manifest = store, manifest

    def __len__(self) -> int:
        return self.manifest.rows

    def tables(self) -> Iterator[pa.Table]:
        """Read the parts in order, one in memory at a time."""
        return map(self.table, range(len(self.manifest.parts)))

    def table(self, number: int) -> pa.Table:
        """Read one part. Raises ConflictError if it differs from what was written."""
        part = self.manifest.parts[number]
        data, where = self._store.read(part.path), f"{self._store.url}/{part.path}"
        remedy = "restore the file or write the view again"
        if sha256_hex(data) != part.sha256:
            raise ConflictError(
                f"{where} has sha256 {sha256_hex(data)}, its manifest says {part.sha256}; {remedy}"
            )
        table = read_table(data, VIEW, where)
        if table.num_rows != part.rows:
            raise ConflictError(f"{where} has {table.num_rows} rows, its manifest says {part.rows}; {remedy}")
        return table

    def rows(self) -> Iterator[ViewRow]:
        """Yield the rows in order; `meta` is a JSON string."""
        for table in self.tables():
            for batch in table.to_batches(max_chunksize=256):
                yield from rows_of(batch, ViewRow)

    def check(self) -> None:
        """Read everything again. Raises ConflictError for a row that breaks the rules or another digest."""
        digest = _ViewDigest()
        for row in self.rows():
            try:
                check_row(row)
                digest.add(row)
            except InvalidRowError as error:
                raise ConflictError(
                    f"{self._store.url}: {error}; restore the folder or write the view again"
                ) from error
        if (digest.value(), digest.rows) != (self.manifest.digest, self.manifest.rows):
            raise ConflictError(
                f"{self._store.url}: the rows have digest {digest.value()} ({digest.rows} rows), "
                f"{MANIFEST} says {self.manifest.digest} ({self.manifest.rows} rows); write the view again"
            )


def open_view(url: str, storage: StorageSettings | None = None) -> View:
    """Open the view or gold at a folder or fsspec URL.

    Raises NotFoundError if there is no manifest, ConflictError if it is invalid.
    """
    store = open_store(url, storage)
    return View(store, _read_manifest(store, url))


def _read_manifest(store: Store, url: str) -> ViewManifest:
    if not store.exists(MANIFEST):
        raise NotFoundError(
            f"{url} has no {MANIFEST}: it is not a view, or its writing was interrupted (write it again)"
        )
    where = f"{url}/{MANIFEST}"
    return parse_record(
        ViewManifest, store.read(MANIFEST), where, "a view's manifest", "write the view again"
    )


def write_view(
    url: str,
    rows: Iterable[ViewRow],
    *,
    kind: ViewKind,
    provenance: Mapping[str, object],
    storage: StorageSettings | None = None,
    overwrite: bool = False,
) -> ViewManifest:
    """Write rows as a view, part by part, and the manifest last. Writing the same rows again changes nothing.

    overwrite: replace an existing view, if it has the same kind
    raises:    GroundswellError for a row that breaks the rules, ConflictError if another view exists
    """
    store = open_store(url, storage)
    metadata = {"groundswell.kind": kind, "groundswell.provenance": canonical_json(dict(provenance)).decode()}
    digest = _ViewDigest()
    parts: list[DataFile] = []
    stream = iter(rows)
    while chunk := list(islice(stream, ROWS_PER_PART)):
        try:
            table = build_table([_check_fields(row) for row in chunk], VIEW, metadata)
            for row in rows_of(table, ViewRow):
                check_row(row)
                digest.add(row)
        except InvalidRowError as error:
            raise GroundswellError(
                f"{error}; this is a defect of the importer or compiler; report it"
            ) from error
        parts.append(_write_part(store, table, len(parts)))
    manifest = ViewManifest(
        kind=kind,
        digest=digest.value(),
        rows=digest.rows,
        phrases=digest.phrases,
        regions=digest.regions,
        parts=tuple(parts),
        provenance=dict(provenance),
    )
    return _publish(store, manifest, url, overwrite)


def check_no_other_view(
    url: str,
    *,
    kind: ViewKind,
    provenance: Mapping[str, object],
    storage: StorageSettings | None = None,
) -> None:
    """Raise ConflictError if a view with another kind or provenance exists, because writing would fail at the end."""
    store = open_store(url, storage)
    if not store.exists(MANIFEST):
        return
    existing = _read_manifest(store, url)
    if existing.kind != kind:
        raise _kind_error(url, existing.kind, kind)
    wanted = json.loads(canonical_json(dict(provenance)))
    if any(existing.provenance.get(name) != wanted[name] for name in wanted):
        raise ConflictError(
            f"{url} already has another {existing.kind}, {existing.digest}: choose another folder, or add --overwrite"
        )


def _publish(store: Store, manifest: ViewManifest, url: str, overwrite: bool = False) -> ViewManifest:
    data = json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False).encode()
    if not store.put_if_absent(MANIFEST, data) and (existing := store.read(MANIFEST)) != data:
        other = _read_valid_manifest(store, url)
        if overwrite and (other is None or other.kind == manifest.kind):
            store.put(MANIFEST, data)
            for path in _part_paths(other) - _part_paths(manifest):
                store.delete(path)
            return manifest
        for part in manifest.parts:  # no manifest names them: this folder's manifest exists and stays
            if part.path.encode() not in existing:
                store.delete(part.path)
        if other is not None and other.kind != manifest.kind:
            raise _kind_error(url, other.kind, manifest.kind)
        raise ConflictError(
            f"{url} already has another view than {manifest.digest}, or the same one with another provenance: choose "
            "another folder, or add --overwrite"
        )
    return manifest


def _read_valid_manifest(store: Store, url: str) -> ViewManifest | None:
    try:
        return _read_manifest(store, url)
    except ConflictError:
        return None


def _part_paths(manifest: ViewManifest | None) -> set[str]:
    return {part.path for part in manifest.parts} if manifest is not None else set()


def _kind_error(url: str, existing: ViewKind, wanted: ViewKind) -> ConflictError:
    return ConflictError(f"{url} has a {existing}, which a {wanted} does not replace: choose another folder")


def _write_part(store: Store, table: pa.Table, number: int) -> DataFile:
    data = table_bytes(table, ROWS_PER_PART)
    sha256 = sha256_hex(data)
    path = f"data/{number:05d}-{shorten_digest(sha256)}.parquet"
    store.put(path, data)
    return DataFile(path=path, size_bytes=len(data), sha256=sha256, rows=table.num_rows)


class _ViewDigest:
    """The digest and the counts of rows. It refuses rows out of order, so no row can occur twice."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._last: tuple[str, int] | None = None
        self.rows = self.phrases = self.regions = 0

    def add(self, row: ViewRow) -> None:
        place = (row["unit"], row["index"])
        if self._last is not None and place <= self._last:
            raise InvalidRowError(
                row, f"follows {self._last}: rows must be in unit and index order, each once"
            )
        self._last = place
        self._hash.update(sha256_hex(canonical_json(row)).encode() + b"\n")
        self.rows += 1
        self.phrases += len(row["phrases"])
        self.regions += len(row["regions"])

    def value(self) -> str:
        return "sha256:" + self._hash.hexdigest()


def check_row(row: ViewRow) -> None:
    """Raise InvalidRowError unless spans are exact, boxes are inside the image and fates are known and consistent."""
    for number, phrase in enumerate(row["phrases"]):
        _check_phrase(row, number, phrase)
    for region in row["regions"]:
        _check_region(row, region)
    grounded = {region["phrase"] for region in row["regions"] if region["fate"] != "ignore"}
    for number, phrase in enumerate(row["phrases"]):
        if (phrase["fate"] == "positive") != (number in grounded):
            raise InvalidRowError(
                row,
                f"phrase {number} is {phrase['fate']!r} and has {'a' if number in grounded else 'no'} box",
            )


def _check_phrase(row: ViewRow, number: int, phrase: ViewPhraseRow) -> None:
    _check_word(row, "phrase fate", phrase["fate"])
    _check_word(row, "phrase kind", phrase["kind"])
    begin, end = phrase["begin"], phrase["end"]
    if phrase["kind"] == "decoy":
        if (begin, end) != (None, None):
            raise InvalidRowError(row, f"phrase {number} is a decoy and has a span")
        return
    if begin is None or end is None:
        raise InvalidRowError(row, f"phrase {number} of kind {phrase['kind']!r} has no span")
    try:
        check_span(row["caption"], begin, end, phrase["text"])
    except ValueError as error:
        raise InvalidRowError(row, f"phrase {number}: {error}") from error


def _check_region(row: ViewRow, region: ViewRegionRow) -> None:
    _check_word(row, "region fate", region["fate"])
    _check_word(row, "origin", region["origin"])
    if not 0 <= region["phrase"] < len(row["phrases"]):
        raise InvalidRowError(row, f"a region refers to phrase {region['phrase']} of {len(row['phrases'])}")
    x0, y0, x1, y1 = box = [region["x0"], region["y0"], region["x1"], region["y1"]]
    # Gold that was imported without images may not know their sizes.
    width, height = row["width"], row["height"]
    if width is None and height is None and row["pixels"] is None:
        width = height = math.inf
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise InvalidRowError(
            row, f"box {box} is empty or outside the image of {row['width']} x {row['height']} px"
        )
    if not math.isfinite(region["score"]) or not (math.isfinite(region["weight"]) and region["weight"] >= 0):
        raise InvalidRowError(
            row, f"score {region['score']} and weight {region['weight']} must be finite, the weight >= 0"
        )


def _check_word(row: ViewRow, what: str, value: str) -> None:
    if value not in _ALLOWED[what]:
        raise InvalidRowError(row, f"{what} {value!r} is not one of {sorted(_ALLOWED[what])}")


def _check_fields(row: ViewRow) -> ViewRow:
    """Return the row itself. Raises InvalidRowError for an unknown nested field, which Arrow would drop silently."""
    items: dict[str, Sequence[Mapping[str, object]]] = {"phrases": row["phrases"], "regions": row["regions"]}
    for name, known in _NESTED.items():
        for item in items[name]:
            if item.keys() - known:
                raise InvalidRowError(
                    row, f"{name} with fields {sorted(item.keys() - known)} that a view does not have"
                )
    return row
