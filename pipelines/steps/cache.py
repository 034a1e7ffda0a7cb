"""A journal: which step is done, with what result, so that a second run does nothing twice.

A step is done when its record was written, last and whole, under the same key, and the files that it made still hold
what they held then. The key covers the seed, the recipe, the code and the results of the steps before it: change any of
them, or lose a file, and the step runs again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from typing import Any

from engine.storage.local_files import replace_file
from schemas import PACKAGES
from schemas.digests import digest_of
from schemas.errors import ConflictError, GroundswellError

STEPS = "steps"
_COMPILED = "__pycache__"


class Journal:
    """Runs steps in order and remembers them in `folder/steps/NAME.json`.

    rewritten: names of files that are written again outside the step that made them: they make no step run again
    """

    def __init__(
        self,
        folder: Path,
        key: dict[str, Any],
        total: int,
        say: Callable[[str], None],
        rewritten: Container[str] = (),
    ) -> None:
        self._home = folder
        self._folder = folder / STEPS
        self._folder.mkdir(parents=True, exist_ok=True)
        self._key = digest_of(key)
        self._total = total
        self._number = 0
        self._say = say
        self._rewritten = rewritten
        self.seconds: dict[str, float] = {}
        self.repeated: list[str] = []

    def step(
        self,
        name: str,
        title: str,
        run: Callable[[], dict[str, Any]],
        makes: Sequence[Path] = (),
        parts: object = None,
        forget: Sequence[Path] = (),
    ) -> dict[str, Any]:
        """The step's JSON result: from its record when it is done and its files stand, else by running it.

        makes:  files and folders under the journal's folder that the step promises
        parts:  JSON that its result depends on, beside the steps before it
        forget: folders that are removed before it runs where an earlier start of it had another key; what a start
                under the same key left behind stays, for the step to go on from
        raises: GroundswellError when the step ran and one of `makes` is not there
        """
        self._number += 1
        self._key = digest_of([self._key, name] if parts is None else [self._key, name, parts])
        path = self._folder / f"{name}.json"
        head = f"[{self._number}/{self._total}] {title}"
        record = _read(path)
        trouble = None if record is None or record["key"] != self._key else self._trouble(record["files"])
        if record is None or record["key"] != self._key or trouble:
            self._say(f"{head}: again, {trouble}" if trouble else head)
            self._begin(path.with_suffix(".begun"), forget)
            record = self._run(path, run, makes)
        else:
            self.repeated.append(name)
            self._say(f"{head}: already done (took {record['seconds']:.0f} s)")
        self.seconds[name] = record["seconds"]
        self._key = digest_of([self._key, record["result"]])
        return dict(record["result"])

    def _begin(self, begun: Path, forget: Sequence[Path]) -> None:
        """Note under which key the step begins, after what another key left is gone."""
        if forget and (not begun.exists() or begun.read_text(encoding="utf-8") != self._key):
            for folder in forget:
                shutil.rmtree(folder, ignore_errors=True)
        begun.write_text(self._key, encoding="utf-8")

    def _run(self, path: Path, run: Callable[[], dict[str, Any]], makes: Sequence[Path]) -> dict[str, Any]:
        path.unlink(missing_ok=True)
        began = time.monotonic()
        result = run()
        record = {
            "key": self._key,
            "seconds": round(time.monotonic() - began, 2),
            "result": result,
            "files": {
                str(file.relative_to(self._home)): _sha256(file)
                for file in _files(makes)
                if file.name not in self._rewritten
            },
        }
        replace_file(path, json.dumps(record, ensure_ascii=False, allow_nan=False).encode())
        return dict(json.loads(path.read_text(encoding="utf-8")))

    def _trouble(self, files: dict[str, str]) -> str | None:
        """What became of the files of a step that is done; None when they are as they were."""
        for name, digest in files.items():
            file = self._home / name
            if file.name in self._rewritten:
                continue  # in the record of a version that watched it
            if not file.is_file():
                return f"{name} is gone"
            if _sha256(file) != digest:
                return f"{name} has changed"
        return None


def refuse_foreign(folder: Path, what: str = "demo") -> None:
    """Raise ConflictError for a folder with content that no `what` made.

    Steps write, and may remove, what lies there.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / STEPS).is_dir():
        raise ConflictError(
            f"{folder} holds files that no {what} made, and a {what} would remove what stands in its way; "
            "give a new or empty folder"
        )


def _read(path: Path) -> dict[str, Any] | None:
    """A step's record; None for one that is not there, was cut short or is of another form."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    whole = isinstance(record, dict) and {"key", "seconds", "result", "files"} <= record.keys()
    return record if whole else None


def _files(made: Sequence[Path]) -> Iterator[Path]:
    """Every file of what a step promised, in order."""
    for path in made:
        found = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
        if not found:
            raise GroundswellError(
                f"{path} should stand here now and does not: something removed it; run again"
            )
        yield from found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_digest(root: Path) -> str:
    """A digest of the project's source with its data: other code may give other results, so its steps run again."""
    files = sorted(
        path
        for room in PACKAGES
        for path in (root / room).rglob("*")
        if path.is_file() and _COMPILED not in path.parts
    )
    return digest_of({str(path.relative_to(root)): _sha256(path) for path in files})
