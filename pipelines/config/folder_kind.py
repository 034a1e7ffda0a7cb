"""Recognize what a folder contains: the output of which verb, input shards, a model, or other files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path

from engine.settings import StorageSettings
from engine.storage.filesystems import absolute_url
from engine.storage.store import Store, open_store
from schemas.errors import GroundswellError, RuntimeEnvironmentError


class FolderKind(Enum):
    """What a folder contains, in the words of a message."""

    NOTHING = "nothing"
    EVIDENCE = "evidence (the output of `label`)"
    VIEW = "a view (the output of `compile`)"
    GOLD = "gold (the output of `gold import`)"
    PARTS = "parts of an unfinished view or of unfinished gold"
    TARS = "the tar files of a view (the output of `compile --materialize`)"
    AUDIT = "an audit (the output of `audit sample`)"
    TRAINING = "a training (the output of `train`)"
    MODEL = "a model directory"
    PICTURES = "pictures (the output of `inspect`)"
    DEMO = "a demo (the output of `demo`)"
    ROUNDS = "rounds (the output of `rounds`)"
    SHARDS = "input shards"
    OTHER = "other files"


# Records of evidence, by folder: docs/interfaces.md
_RECORDS = {"jobs": re.compile(r"[0-9a-f]{16}\.json"), "snapshots": re.compile(r"\d{20}\.json")}
_VIEW_PART = re.compile(r"\d{5,}-[0-9a-f]{16}\.parquet")
_PICTURE = re.compile(r"\d{3,}-[A-Za-z0-9._-]*\.jpg|sheet\.jpg")
_TAR = re.compile(r"\d{5,}\.tar")
_SHARD = re.compile(r".+\.(tar|parquet)")
_SHARD_SIDECAR = re.compile(r".+(\.tar|\.parquet|_stats\.json|\.tar\.idx)")
# Not counted as content: half-written files, self-tests, marks of file systems and desktops, redirected messages.
_NO_CONTENT = re.compile(
    r"\.tmp-.*|self-test-.*|\.nfs.*|\.gitkeep|\.keep|\.DS_Store|lost\+found/|.*\.log|nohup\.out"
)


def detect_kind(url: str, storage: StorageSettings | None = None, reads: Iterable[str] = ()) -> FolderKind:
    """Return what the folder at a path or URL contains. Raises RuntimeEnvironmentError when it cannot be read.

    reads: files that a verb reads; they do not count as content
    """
    store = open_store(url, storage)
    own = {Path(read).name for read in reads if os.path.dirname(os.path.abspath(read)) == absolute_url(url)}
    names = {name for name in store.list_folder() if not _NO_CONTENT.fullmatch(name)} - own
    return _detect(store, names) if names else FolderKind.NOTHING


def detect_kind_of_ancestor(url: str, storage: StorageSettings | None = None) -> FolderKind:
    """Return what a folder above a place contains; of a URL only by its main records, since a listing could be long.

    A folder that cannot be read counts as empty.
    """
    try:
        if "://" not in url:
            return detect_kind(url) if os.path.isdir(url) else FolderKind.NOTHING
        store = open_store(url, storage)
        if any(_has_records(store, folder) for folder in _RECORDS):
            return FolderKind.EVIDENCE
        marks = {"view.json": FolderKind.VIEW, "materialized.json": FolderKind.TARS}
        return next((kind for mark, kind in marks.items() if store.exists(mark)), FolderKind.NOTHING)
    except (OSError, RuntimeEnvironmentError):
        return FolderKind.NOTHING


def list_content(url: str, storage: StorageSettings | None = None) -> list[str]:
    """Return the sorted names in a folder that count as content."""
    return sorted(name for name in open_store(url, storage).list_folder() if not _NO_CONTENT.fullmatch(name))


def _detect(store: Store, names: set[str]) -> FolderKind:
    """Return what a folder with these names contains. Names of folders end in a slash."""
    if _is_evidence(store, names):
        return FolderKind.EVIDENCE
    if "view.json" in names:
        is_gold = _read_json(store, "view.json").get("kind") == "gold"
        return FolderKind.GOLD if is_gold else FolderKind.VIEW
    if "materialized.json" in names:
        return FolderKind.TARS
    if names - {"source_ids.parquet"} == {"data/"} and _all_match(
        parts := _names_under(store, "data"), _VIEW_PART
    ):
        return FolderKind.PARTS if parts else FolderKind.NOTHING
    if "sample.json" in names and (
        "verdicts.db" in names or "view_digest" in _read_json(store, "sample.json")
    ):
        return FolderKind.AUDIT
    if "steps/" in names and (kind := _detect_by_steps(names, _names_under(store, "steps"))):
        return kind
    if names <= {".writing"} or (
        "settings.json" in names and "run_digest" in _read_json(store, "settings.json")
    ):
        return FolderKind.TRAINING
    if "config.json" in names and any(name.endswith(".safetensors") for name in names):
        return FolderKind.MODEL
    if "view/" in names and _all_match(names - {"view/"}, _TAR):
        return FolderKind.TARS  # unfinished
    if "sheet.jpg" in names and _all_match(names, _PICTURE):
        return FolderKind.PICTURES
    if any(_SHARD.fullmatch(name) for name in names) and _all_match(names, _SHARD_SIDECAR):
        return FolderKind.SHARDS
    return FolderKind.OTHER


def _is_evidence(store: Store, names: set[str]) -> bool:
    """Return whether a run has begun there (the job's record is its first file), or is about to begin."""
    if names <= {"selections/", "decoys/"}:
        return True
    return any(_has_records(store, folder) for folder in _RECORDS if f"{folder}/" in names)


def _has_records(store: Store, folder: str) -> bool:
    """Return whether a folder has records of evidence. Other projects also have folders `jobs` and `snapshots`."""
    return any(_RECORDS[folder].fullmatch(name) for name in store.list_folder(folder))


def _detect_by_steps(names: set[str], steps: set[str]) -> FolderKind | None:
    """Return whose step cache it is. An empty one belongs to a demo or to rounds if the other names say so."""
    if any(step.startswith("round-") for step in steps) or any(name.startswith("round-") for name in names):
        return FolderKind.ROUNDS
    if any(step.startswith("world.") for step in steps) or "job.yaml" in names:
        return FolderKind.DEMO
    return FolderKind.NOTHING if names == {"steps/"} and not steps else None


def _all_match(names: Iterable[str], pattern: re.Pattern[str]) -> bool:
    return all(pattern.fullmatch(name) for name in names)


def _names_under(store: Store, folder: str) -> set[str]:
    return {name for name in store.list_folder(folder) if not _NO_CONTENT.fullmatch(name)}


def _read_json(store: Store, path: str) -> Mapping[str, object]:
    """Read a JSON object. Anything else gives an empty one, since a damaged record still tells the folder's kind."""
    try:
        found = json.loads(store.read(path))
    except (ValueError, RecursionError, OSError, GroundswellError):
        return {}
    return found if isinstance(found, dict) else {}
