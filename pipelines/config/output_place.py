"""Check where a verb is about to write, before it works: what is there, whether it may go there, whether it can.

Promise: a verb writes into a new or empty place or into output of its own kind, never into that of another verb.
Local paths and URLs alike.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

from engine.settings import StorageSettings
from engine.storage.filesystems import absolute_url
from engine.storage.store import Store, open_store
from schemas.errors import ConfigError, ConflictError, GroundswellError, RuntimeEnvironmentError


class Kind(Enum):
    """What a folder holds, in the words of a message."""

    NOTHING = "nothing"
    EVIDENCE = "evidence (the output of `label`)"
    VIEW = "a view (the output of `compile`)"
    GOLD = "gold (the output of `gold import`)"
    PARTS = "parts of a view or of gold whose writing was cut short"
    TARS = "the tars of a view (the output of `compile --materialize`)"
    AUDIT = "an audit (the output of `audit sample`)"
    TRAINING = "a training (the output of `train`)"
    MODEL = "a model directory"
    PICTURES = "pictures (the output of `inspect`)"
    DEMO = "a demo (the output of `demo`)"
    ROUNDS = "rounds (the output of `rounds`)"
    SHARDS = "input shards"
    OTHER = "other files"


# Collections of outputs, each in a folder of its own, and the folders of theirs that nothing may be put into.
_COLLECTIONS = {
    Kind.DEMO: re.compile(r"steps|world|start|base|teacher|evidence|view|student|control|audit"),
    Kind.ROUNDS: re.compile(r"steps|round-\d+"),
}
_COLLECTION_FILE = re.compile(r".+\.yaml|.+\.html|\..*")  # what a demo and rounds write beside their folders
# Records of evidence, by folder: docs/interfaces.md
_RECORDS = {"jobs": re.compile(r"[0-9a-f]{16}\.json"), "snapshots": re.compile(r"\d{20}\.json")}
_VIEW_PART = re.compile(r"\d{5,}-[0-9a-f]{16}\.parquet")
_PICTURE = re.compile(r"\d{3,}-[A-Za-z0-9._-]*\.jpg|sheet\.jpg")
_TAR = re.compile(r"\d{5,}\.tar")
_SHARD = re.compile(r".+\.(tar|parquet)")
_BESIDE_SHARDS = re.compile(r".+(\.tar|\.parquet|_stats\.json|\.tar\.idx)")
# Nobody's output: half-written files, self-tests, marks of file systems and desktops, redirected messages.
_NO_CONTENT = re.compile(
    r"\.tmp-.*|self-test-.*|\.nfs.*|\.gitkeep|\.keep|\.DS_Store|lost\+found/|.*\.log|nohup\.out"
)
_NEVER_REPLACED = (".tar", ".parquet", ".onnx", ".pth", ".safetensors", ".db", ".jpg", ".png")
_URL_AS_PATH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/(?!/)")
_MANY = 3


def kind_of(url: str, storage: StorageSettings | None = None, reads: Iterable[str] = ()) -> Kind:
    """Return what the folder at a path or URL holds. Raises RuntimeEnvironmentError when it cannot be read.

    reads: files that a verb reads; one that is in the folder is no content of it
    """
    store = open_store(url, storage)
    own = {Path(read).name for read in reads if os.path.dirname(os.path.abspath(read)) == absolute_url(url)}
    names = {name for name in store.list_folder() if not _NO_CONTENT.fullmatch(name)} - own
    return _kind(store, names) if names else Kind.NOTHING


def check_folder(
    option: str,
    url: str,
    makes: Kind | tuple[Kind, ...],
    *,
    storage: StorageSettings | None = None,
    repeats: bool = True,
    overwrite: bool = False,
    reads: Iterable[str] = (),
) -> Kind:
    """Check a folder that a verb is about to write; return what it holds: nothing, or output of a kind in `makes`.

    option:    the flag or setting that names it, for messages
    repeats:   whether the verb may go into its own output without --overwrite
    overwrite: whether --overwrite was given; it opens the verb's own kind alone
    reads:     files that the verb reads, such as its configuration, which may be in the folder
    raises:    ConflictError when something else is there or it is inside another verb's output;
               RuntimeEnvironmentError when it cannot be written or a file is in its way
    """
    own = makes if isinstance(makes, tuple) else (makes,)
    place = _place(option, url)
    _refuse_file_in_the_way(option, place, storage)
    kind = kind_of(place, storage, reads)
    if kind is not Kind.NOTHING and kind not in own:
        raise ConflictError(
            f"{option} {url} holds {_content(place, kind, storage)}; expected a new or empty folder, or "
            f"{own[0].value}; name another folder"
        )
    if kind in own and not (repeats or overwrite):
        raise ConflictError(
            f"{option} {url} holds {kind.value} already; expected a new or empty folder; name another one, or add "
            "--overwrite"
        )
    if kind is Kind.NOTHING or overwrite:
        _refuse_inside_output(option, place, storage, is_file=False)
    _refuse_unwritable(option, place, storage)
    return kind


def check_file(
    option: str,
    url: str,
    *,
    storage: StorageSettings | None = None,
    overwrite: bool = False,
    reads: Iterable[object] = (),
) -> None:
    """Check a file that a verb is about to write.

    overwrite: whether --overwrite was given; it opens a plain file, never one of another verb's output or a shard
    reads:     files that the same verb reads
    raises:    ConflictError, RuntimeEnvironmentError, and ConfigError when it is one of `reads`
    """
    place = _place(option, url)
    same = [str(name) for name in reads if name is not None and _is_same(place, str(name))]
    if same:
        raise ConfigError(f"{option} {url} is a file that this command reads; name another file")
    if _is_folder(place, storage):
        kind = kind_of(place, storage)
        problem = RuntimeEnvironmentError if kind in (Kind.NOTHING, Kind.OTHER) else ConflictError
        raise problem(
            f"{option} {url} is a folder with {kind.value}; expected the path of a file; add its name"
        )
    _refuse_inside_output(option, place, storage, is_file=True)
    if _is_file(place, storage):
        if "://" not in place and not os.path.isfile(place):
            raise RuntimeEnvironmentError(
                f"{option} {url} is a device, a pipe or a link to nothing; expected a plain file or a new one; name "
                "another file"
            )
        if place.endswith(_NEVER_REPLACED):
            raise ConflictError(
                f"{option} {url} exists and is no file that this command writes; name another file"
            )
        if not overwrite:
            raise ConflictError(
                f"{option} {url} exists already; name another file, or add --overwrite to replace it"
            )
        if "://" not in place and not os.access(place, os.W_OK):
            raise RuntimeEnvironmentError(
                f"{option} {url} may not be written; check its rights or name another file"
            )
    parent = _parent(place)
    if parent is not None:
        _refuse_file_in_the_way(option, parent, storage)
        _refuse_unwritable(option, parent, storage)


def check_new_folder(option: str, url: str) -> None:
    """Check a local folder that is to be made. Raises as `check_folder`; the verb itself refuses one that exists."""
    place = _place(option, url)
    if not os.path.lexists(place):
        _refuse_file_in_the_way(option, place, None)
        _refuse_inside_output(option, place, None, is_file=False)
        _refuse_unwritable(option, place, None)


def _place(option: str, url: str) -> str:
    """Return the one spelling of a place. Raises ConfigError for a URL where only a local path can be written.

    A verb that takes a local path has lost one slash of a URL by then.
    """
    if _URL_AS_PATH.match(url):
        raise ConfigError(f"{option} {url} is a URL; expected a local path; give the path alone")
    return absolute_url(url)


def _kind(store: Store, names: set[str]) -> Kind:
    """Return what a folder with these names holds; folders end in a slash."""
    if _is_evidence(store, names):
        return Kind.EVIDENCE
    if "view.json" in names:
        return Kind.GOLD if _json_at(store, "view.json").get("kind") == "gold" else Kind.VIEW
    if "materialized.json" in names:
        return Kind.TARS
    if names == {"data/"} and _all_match(parts := _names_under(store, "data"), _VIEW_PART):
        return Kind.PARTS if parts else Kind.NOTHING
    if "sample.json" in names and ("verdicts.db" in names or "view_digest" in _json_at(store, "sample.json")):
        return Kind.AUDIT
    if "steps/" in names and (kind := _kind_by_steps(names, _names_under(store, "steps"))):
        return kind
    if names <= {".writing"} or (
        "settings.json" in names and "run_digest" in _json_at(store, "settings.json")
    ):
        return Kind.TRAINING
    if "config.json" in names and any(name.endswith(".safetensors") for name in names):
        return Kind.MODEL
    if "view/" in names and _all_match(names - {"view/"}, _TAR):
        return Kind.TARS  # their writing was cut short
    if "sheet.jpg" in names and _all_match(names, _PICTURE):
        return Kind.PICTURES
    if any(_SHARD.fullmatch(name) for name in names) and _all_match(names, _BESIDE_SHARDS):
        return Kind.SHARDS
    return Kind.OTHER


def _is_evidence(store: Store, names: set[str]) -> bool:
    """Return whether a run has begun there (the job's record is its first file), or is about to."""
    if names <= {"selections/", "decoys/"}:
        return True
    return any(_has_records(store, folder) for folder in _RECORDS if f"{folder}/" in names)


def _has_records(store: Store, folder: str) -> bool:
    """Return whether a folder holds records of evidence: other projects have `jobs` and `snapshots`, too."""
    return any(_RECORDS[folder].fullmatch(name) for name in store.list_folder(folder))


def _kind_by_steps(names: set[str], steps: set[str]) -> Kind | None:
    """Return whose journal it is; an empty one names nobody and counts as a demo or rounds by what is beside it."""
    if any(step.startswith("round-") for step in steps) or any(name.startswith("round-") for name in names):
        return Kind.ROUNDS
    if any(step.startswith("world.") for step in steps) or "job.yaml" in names:
        return Kind.DEMO
    return Kind.NOTHING if names == {"steps/"} and not steps else None


def _all_match(names: Iterable[str], pattern: re.Pattern[str]) -> bool:
    return all(pattern.fullmatch(name) for name in names)


def _names_under(store: Store, folder: str) -> set[str]:
    return {name for name in store.list_folder(folder) if not _NO_CONTENT.fullmatch(name)}


def _json_at(store: Store, path: str) -> dict[str, Any]:
    """Return a JSON object; an empty one for anything else, since a damaged record still names its folder's kind."""
    try:
        found = json.loads(store.read(path))
    except (ValueError, RecursionError, OSError, GroundswellError):
        return {}
    return found if isinstance(found, dict) else {}


def _content(place: str, kind: Kind, storage: StorageSettings | None) -> str:
    if kind is not Kind.OTHER:
        return kind.value
    names = sorted(
        name for name in open_store(place, storage).list_folder() if not _NO_CONTENT.fullmatch(name)
    )
    more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return f"other files ({', '.join(names[:_MANY])}{more})"


def _refuse_inside_output(option: str, place: str, storage: StorageSettings | None, *, is_file: bool) -> None:
    """Raise ConflictError for a place inside what a verb made: nothing else belongs there.

    A folder or file may be put beside the outputs that a demo or rounds hold, and a folder beside shards.
    """
    for ancestor, below in _ancestors(place):
        kind = _kind_of_ancestor(ancestor, storage)
        if kind is Kind.SHARDS and not (is_file and len(below) == 1):
            continue
        if kind in _COLLECTIONS and not _is_owned(kind, below, is_file):
            continue
        if kind not in (Kind.NOTHING, Kind.OTHER):
            raise ConflictError(
                f"{option} {place} is inside {ancestor}, which holds {kind.value}; expected a place outside of it; "
                "name another one"
            )


def _is_owned(kind: Kind, below: list[str], is_file: bool) -> bool:
    """Return whether a place is a file or the journal of a demo or of rounds, or inside a folder that they made."""
    if len(below) == 1 and is_file:
        return bool(_COLLECTION_FILE.fullmatch(below[0]))
    return below[0] == "steps" or (len(below) > 1 and bool(_COLLECTIONS[kind].fullmatch(below[0])))


def _ancestors(place: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the folders that a place is in, nearest first, each with the path from it to the place."""
    if "://" not in place:
        place = os.path.realpath(place)
    below: list[str] = []
    while (parent := _parent(place)) is not None:
        below.insert(0, place.rsplit("/", 1)[-1])
        yield parent, list(below)
        place = parent


def _parent(place: str) -> str | None:
    """Return the folder that a path or URL is in; None for a root."""
    if "://" not in place:
        parent = os.path.dirname(place)
        return None if parent == place else parent
    protocol, path = place.split("://", 1)
    head, _, _ = path.rpartition("/")
    return f"{protocol}://{head}" if head else None


def _kind_of_ancestor(folder: str, storage: StorageSettings | None) -> Kind:
    """Return what a folder further up holds; of a URL by the marks alone, since a listing could be long."""
    try:
        if "://" not in folder:
            return kind_of(folder) if os.path.isdir(folder) else Kind.NOTHING
        store = open_store(folder, storage)
        if any(_has_records(store, records) for records in _RECORDS):
            return Kind.EVIDENCE
        marks = {"view.json": Kind.VIEW, "materialized.json": Kind.TARS}
        return next((kind for mark, kind in marks.items() if store.exists(mark)), Kind.NOTHING)
    except (
        OSError,
        RuntimeEnvironmentError,
    ):  # it may not be read: then nobody's output is known to be there
        return Kind.NOTHING


def _is_folder(place: str, storage: StorageSettings | None) -> bool:
    return os.path.isdir(place) if "://" not in place else bool(open_store(place, storage).list_folder())


def _is_file(place: str, storage: StorageSettings | None) -> bool:
    if "://" not in place:
        return os.path.lexists(place)
    parent = _parent(place)
    return parent is not None and place.rsplit("/", 1)[-1] in open_store(parent, storage).list_folder()


def _is_same(place: str, other: str) -> bool:
    try:
        other = absolute_url(other)
    except ConfigError:
        return False
    if "://" in place or "://" in other:
        return place == other
    return os.path.realpath(place) == os.path.realpath(other)


def _refuse_file_in_the_way(option: str, folder: str, storage: StorageSettings | None) -> None:
    """Raise RuntimeEnvironmentError when the folder, or what it would be in, is a file or cannot be looked at."""
    if "://" in folder:
        is_object = False
        with suppress(RuntimeEnvironmentError):  # the right to list often ends at the prefix of one's own
            is_object = _is_file(folder, storage) and not _is_folder(folder, storage)
        if is_object:
            raise RuntimeEnvironmentError(
                f"{option} {folder} is an object; expected a prefix; name another place"
            )
        return
    try:
        os.stat(folder)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise RuntimeEnvironmentError(
                f"{option} {folder} cannot be reached ({error.strerror}); name another folder"
            ) from error
    there = _nearest(folder)
    if not os.path.isdir(there):
        raise RuntimeEnvironmentError(
            f"{option} {folder}: {there} is a file; expected a folder; name another place"
        )


def _nearest(path: str) -> str:
    """Return the path itself, or the nearest folder above it that exists."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _refuse_unwritable(option: str, folder: str, storage: StorageSettings | None) -> None:
    """Raise RuntimeEnvironmentError unless a file can be written there; what is written is removed at once."""
    if "://" in folder:
        store, name = open_store(folder, storage), f"self-test-{secrets.token_hex(8)}"
        store.put_if_absent(name, b"")
        with suppress(RuntimeEnvironmentError):  # the right to delete is not needed to write
            store.delete(name)
        return
    there = _nearest(folder)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise RuntimeEnvironmentError(
            f"{option} {folder}: {there} cannot be written ({error.strerror or error}); check its rights and free "
            "space, or name another place"
        ) from error
