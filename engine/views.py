"""Views and gold on disk: rows of labels in parts of Parquet, and a manifest that is written last.

Its promise: a view is known by the digest of its rows in their order. Equal rows give an equal digest and equal
files, a view without its manifest does not exist, and a row that breaks the records' rules is never written.
Layout: `DIR/view.json` and `DIR/data/<part, 5 digits>-<sha256, 16 digits>.parquet`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, get_args

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


class View:
    """A view or gold that was opened; every part is checked against the manifest when it is read."""

    def __init__(self, store: Store, manifest: ViewManifest) -> None:
        self._store, self.manifest = store, manifest

    def __len__(self) -> int:
        return self.manifest.rows

    def tables(self) -> Iterator[pa.Table]:
        """The parts in order, one in memory at a time."""
        return map(self.table, range(len(self.manifest.parts)))

    def table(self, number: int) -> pa.Table:
        """One part. Raises ConflictError for one that is not as it was written."""
        part = self.manifest.parts[number]
        data = self._store.read(part.path)
        if sha256_hex(data) != part.sha256:
            raise ConflictError(f"{part.path} has sha256 {sha256_hex(data)}, its manifest says {part.sha256}")
        table = read_table(data, VIEW, part.path)
        if table.num_rows != part.rows:
            raise ConflictError(f"{part.path} has {table.num_rows} rows, its manifest says {part.rows}")
        return table

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows in order, as plain dictionaries; `meta` is a JSON string."""
        for table in self.tables():
            for batch in table.to_batches(max_chunksize=256):
                yield from batch.to_pylist()

    def check(self) -> None:
        """Read everything again. Raises ConflictError when the rows do not have the manifest's digest or count."""
        tally = _Tally()
        for row in self.rows():
            check_row(row)
            tally.add(row)
        if (tally.digest(), tally.rows) != (self.manifest.digest, self.manifest.rows):
            raise ConflictError(
                f"the rows have digest {tally.digest()} ({tally.rows} rows), "
                f"{MANIFEST} says {self.manifest.digest} ({self.manifest.rows} rows): write the view again"
            )


def open_view(url: str, storage: StorageSettings | None = None) -> View:
    """The view or gold at a folder or fsspec URL.

    Raises NotFoundError without a manifest, ConflictError for a broken one.
    """
    store = open_store(url, storage)
    return View(store, _manifest_at(store, url))


def _manifest_at(store: Store, url: str) -> ViewManifest:
    if not store.exists(MANIFEST):
        raise NotFoundError(
            f"{url} holds no {MANIFEST}: not a view, or one whose writing was cut short (write it again)"
        )
    where = f"{url}/{MANIFEST}"
    return parse_record(
        ViewManifest, store.read(MANIFEST), where, "a view's manifest", "write the view again"
    )


def write_view(
    url: str,
    rows: Iterable[dict[str, Any]],
    *,
    kind: ViewKind,
    provenance: dict[str, Any],
    storage: StorageSettings | None = None,
    overwrite: bool = False,
) -> ViewManifest:
    """Write rows (of `schemas.arrow.VIEW`'s form) as a view, part by part, the manifest last.

    Writing the same again changes nothing. Raises GroundswellError for a row that breaks the rules and ConflictError
    where another view stands; overwrite: replace that one, if it is of the same kind.
    """
    store = open_store(url, storage)
    metadata = {"groundswell.kind": kind, "groundswell.provenance": canonical_json(provenance).decode()}
    tally = _Tally()
    parts: list[DataFile] = []
    stream = iter(rows)
    while chunk := list(islice(stream, ROWS_PER_PART)):
        table = build_table([_known_fields(row) for row in chunk], VIEW, metadata)
        for row in table.to_pylist():
            check_row(row)
            tally.add(row)
        parts.append(_write_part(store, table, len(parts)))
    manifest = ViewManifest(
        kind=kind,
        digest=tally.digest(),
        rows=tally.rows,
        phrases=tally.phrases,
        regions=tally.regions,
        parts=tuple(parts),
        provenance=provenance,
    )
    return _publish(store, manifest, url, overwrite)


def check_no_other_view(
    url: str,
    *,
    kind: ViewKind,
    provenance: Mapping[str, Any],
    storage: StorageSettings | None = None,
) -> None:
    """Raise ConflictError where a view stands that has not all of this provenance: writing would end in it."""
    store = open_store(url, storage)
    if not store.exists(MANIFEST):
        return
    standing = _manifest_at(store, url)
    asked = json.loads(canonical_json(dict(provenance)))
    if standing.kind != kind or any(standing.provenance.get(name) != asked[name] for name in asked):
        raise ConflictError(
            f"{url} already holds another {standing.kind}, {standing.digest}: choose another folder, or add --overwrite"
        )


def _publish(store: Store, manifest: ViewManifest, url: str, overwrite: bool = False) -> ViewManifest:
    data = json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False).encode()
    if not store.put_if_absent(MANIFEST, data) and (standing := store.read(MANIFEST)) != data:
        if overwrite and (before := _parts_of(store, url, manifest.kind)) is not None:
            store.put(MANIFEST, data)
            for path in before - {part.path for part in manifest.parts}:
                store.delete(path)
            return manifest
        for part in manifest.parts:  # nobody names them now, and nobody will: this folder's manifest stands
            if part.path.encode() not in standing:
                store.delete(part.path)
        raise ConflictError(
            f"{url} already holds another view than {manifest.digest}, or one made otherwise: choose another "
            "folder, or add --overwrite"
        )
    return manifest


def _parts_of(store: Store, url: str, kind: ViewKind) -> set[str] | None:
    """Return the paths that a standing manifest names, none for a damaged one; None for one of another kind."""
    try:
        standing = _manifest_at(store, url)
    except ConflictError:
        return set()
    return {part.path for part in standing.parts} if standing.kind == kind else None


def _write_part(store: Store, table: pa.Table, number: int) -> DataFile:
    data = table_bytes(table, ROWS_PER_PART)
    sha256 = sha256_hex(data)
    path = f"data/{number:05d}-{shorten_digest(sha256)}.parquet"
    store.put(path, data)
    return DataFile(path=path, size_bytes=len(data), sha256=sha256, rows=table.num_rows)


class _Tally:
    """Digest and counts of rows as they pass; refuses rows out of order, so that none can stand twice."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._last: tuple[str, int] | None = None
        self.rows = self.phrases = self.regions = 0

    def add(self, row: dict[str, Any]) -> None:
        place = (row["unit"], row["index"])
        if self._last is not None and place <= self._last:
            raise _bad(row, f"follows {self._last}: rows stand in unit and index order, none twice")
        self._last = place
        self._hash.update(sha256_hex(canonical_json(row)).encode() + b"\n")
        self.rows += 1
        self.phrases += len(row["phrases"])
        self.regions += len(row["regions"])

    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()


def check_row(row: dict[str, Any]) -> None:
    """Raise GroundswellError unless spans are exact, boxes lie in the image and every fate is known and consistent."""
    for number, phrase in enumerate(row["phrases"]):
        _check_phrase(row, number, phrase)
    for region in row["regions"]:
        _check_region(row, region)
    grounded = {region["phrase"] for region in row["regions"] if region["fate"] != "ignore"}
    for number, phrase in enumerate(row["phrases"]):
        if (phrase["fate"] == "positive") != (number in grounded):
            raise _bad(
                row,
                f"phrase {number} is {phrase['fate']!r} and has {'a' if number in grounded else 'no'} box",
            )


def _check_phrase(row: dict[str, Any], number: int, phrase: dict[str, Any]) -> None:
    _check_word(row, "phrase fate", phrase["fate"])
    _check_word(row, "phrase kind", phrase["kind"])
    begin, end = phrase["begin"], phrase["end"]
    if phrase["kind"] == "decoy":
        if (begin, end) != (None, None):
            raise _bad(row, f"phrase {number} is a decoy and has a span")
        return
    if begin is None or end is None:
        raise _bad(row, f"phrase {number} of kind {phrase['kind']!r} has no span")
    try:
        check_span(row["caption"], begin, end, phrase["text"])
    except ValueError as error:
        raise _bad(row, f"phrase {number}: {error}") from error


def _check_region(row: dict[str, Any], region: dict[str, Any]) -> None:
    _check_word(row, "region fate", region["fate"])
    _check_word(row, "origin", region["origin"])
    if not 0 <= region["phrase"] < len(row["phrases"]):
        raise _bad(row, f"a region points at phrase {region['phrase']} of {len(row['phrases'])}")
    x0, y0, x1, y1 = box = [region[side] for side in ("x0", "y0", "x1", "y1")]
    if not (0 <= x0 < x1 <= row["width"] and 0 <= y0 < y1 <= row["height"]):
        raise _bad(row, f"box {box} is empty or leaves the image of {row['width']} x {row['height']} px")
    if not math.isfinite(region["score"]) or not (math.isfinite(region["weight"]) and region["weight"] >= 0):
        raise _bad(
            row, f"score {region['score']} and weight {region['weight']} must be finite, the weight >= 0"
        )


def _check_word(row: dict[str, Any], what: str, value: object) -> None:
    if value not in _ALLOWED[what]:
        raise _bad(row, f"{what} {value!r} is none of {sorted(_ALLOWED[what])}")


def _known_fields(row: dict[str, Any]) -> dict[str, Any]:
    """The row itself; Arrow would drop an unknown field inside a phrase or a region in silence."""
    for name, known in _NESTED.items():
        for item in row[name]:
            if item.keys() - known:
                raise _bad(row, f"{name} with fields {sorted(item.keys() - known)} that a view does not hold")
    return row


def _bad(row: dict[str, Any], reason: str) -> GroundswellError:
    return GroundswellError(f"{row.get('unit')} index {row.get('index')} ({row.get('key')}): {reason}")
