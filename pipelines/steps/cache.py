"""A cache of steps: a step that is done, with unchanged inputs and outputs, is not run again.

A step is done if its record was written (last, and atomically) under the same key, and the files that it made are
unchanged. The key covers the seed, the recipe, the code and the results of earlier steps. When one of them changes, or
a file is lost, the step runs again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypedDict, TypeVar, cast

from engine.storage.local_files import replace_file
from schemas import PACKAGES
from schemas.digests import digest_of
from schemas.errors import ConflictError, GroundswellError

STEPS_FOLDER = "steps"
_COMPILED = "__pycache__"


Result = TypeVar("Result", bound=Mapping[str, object])


class _StepRecord(TypedDict, Generic[Result]):
    """A finished step: its key, seconds, JSON result, and the sha256 of its files by relative path."""

    key: str
    seconds: float
    result: Result
    files: dict[str, str]


class StepCache:
    """Run steps in order and store their results in `folder/steps/NAME.json`.

    rewritten: names of files that other steps write again; a change of them does not repeat a step
    """

    def __init__(
        self,
        folder: Path,
        key: Mapping[str, object],
        total: int,
        say: Callable[[str], None],
        rewritten: Container[str] = (),
    ) -> None:
        self._home = folder
        self._folder = folder / STEPS_FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        self._key = digest_of(dict(key))
        self._total = total
        self._number = 0
        self._say = say
        self._rewritten = rewritten
        self.seconds: dict[str, float] = {}
        self.cached: list[str] = []

    def run_step(
        self,
        name: str,
        title: str,
        run: Callable[[], Result],
        makes: Sequence[Path] = (),
        parts: object = None,
        forget: Sequence[Path] = (),
    ) -> Result:
        """Return the step's JSON result: from its record if it is done and its files are unchanged, else by running it.

        makes:  files and folders under the cache's folder that the step must make
        parts:  JSON on which the result depends, besides earlier steps
        forget: folders that are deleted first if the step was started under another key. After a start under the same
                key they stay, so that the step can continue from them
        raises: GroundswellError if the step ran and one of `makes` does not exist
        """
        self._number += 1
        self._key = digest_of([self._key, name] if parts is None else [self._key, name, parts])
        path = self._folder / f"{name}.json"
        head = f"[{self._number}/{self._total}] {title}"
        record: _StepRecord[Result] | None = _read_record(path)
        if record is not None and record["key"] != self._key:
            record = None
        change = None if record is None else self._find_change(record["files"])
        if record is None or change:
            self._say(f"{head}: again, {change}" if change else head)
            self._begin(path.with_suffix(".begun"), forget)
            record = self._run(path, run, makes)
        else:
            self.cached.append(name)
            self._say(f"{head}: already done (took {record['seconds']:.0f} s)")
        self.seconds[name] = record["seconds"]
        self._key = digest_of([self._key, record["result"]])
        return record["result"]

    def _begin(self, begun: Path, forget: Sequence[Path]) -> None:
        """Note the key under which the step begins, after the files of another key are deleted."""
        if forget and (not begun.exists() or begun.read_text(encoding="utf-8") != self._key):
            for folder in forget:
                shutil.rmtree(folder, ignore_errors=True)
        begun.write_text(self._key, encoding="utf-8")

    def _run(self, path: Path, run: Callable[[], Result], makes: Sequence[Path]) -> _StepRecord[Result]:
        path.unlink(missing_ok=True)
        started_at = time.monotonic()
        result = run()
        record: _StepRecord[Result] = {
            "key": self._key,
            "seconds": round(time.monotonic() - started_at, 2),
            "result": result,
            "files": {
                str(file.relative_to(self._home)): _sha256(file)
                for file in _list_files(makes)
                if file.name not in self._rewritten
            },
        }
        replace_file(path, json.dumps(record, ensure_ascii=False, allow_nan=False).encode())
        return cast(_StepRecord[Result], json.loads(path.read_text(encoding="utf-8")))

    def _find_change(self, files: Mapping[str, str]) -> str | None:
        """Say which file of a finished step was lost or changed; None if all are unchanged."""
        for name, digest in files.items():
            file = self._home / name
            if file.name in self._rewritten:
                continue  # records of an earlier version include such files
            if not file.is_file():
                return f"{name} is missing"
            if _sha256(file) != digest:
                return f"{name} has changed"
        return None


def refuse_foreign(folder: Path, what: str = "demo") -> None:
    """Raise ConflictError for a folder with content that no `what` made, because steps write and delete files there."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / STEPS_FOLDER).is_dir():
        raise ConflictError(
            f"{folder} contains files that no {what} made, and a {what} could delete them; name a new or empty folder"
        )


def _read_record(path: Path) -> _StepRecord[Result] | None:
    """Read a step's record; None if it is missing, incomplete or of another form."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    is_complete = isinstance(record, dict) and _StepRecord.__required_keys__ <= record.keys()
    return cast(_StepRecord[Result], record) if is_complete else None


def _list_files(made: Sequence[Path]) -> Iterator[Path]:
    """Yield every file of what a step had to make, in order."""
    for path in made:
        files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
        if not files:
            raise GroundswellError(
                f"{path} is missing although the step that writes it has ended; something deleted it; run the same "
                "command again"
            )
        yield from files


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compute_code_digest(root: Path) -> str:
    """Return a digest of the project's source and data files. Other code may give other results."""
    files = sorted(
        path
        for package in PACKAGES
        for path in (root / package).rglob("*")
        if path.is_file() and _COMPILED not in path.parts
    )
    return digest_of({str(path.relative_to(root)): _sha256(path) for path in files})
