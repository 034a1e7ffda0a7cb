"""What a worker and its sandbox process exchange: JSON files in a private folder, and signs of life through a pipe."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field

from engine.ledger.unit_result import UnitResult
from engine.storage.local_files import replace_file
from engine.task import Abort, Failure, Task, WorkerSpec
from engine.worker.stage import ModelState
from schemas.ledger import ShardFacts
from schemas.records import Record

READY, STEP = b"R", b"."
"""Signs: the process has its teacher and takes its first sample; it made progress."""
MEMORY_EXIT = 79
"""Exit code of a process in which Python itself ran out of memory."""
_REQUEST, _NOTES, _ANSWER = "request.json", "notes.json", "answer.json"


class SandboxRequest(Record):
    """What a sandbox process is to do: read a shard to its end, or label the samples [first, stop) of a unit."""

    spec: WorkerSpec
    task: Task
    first: int = 0
    stop: int = 0


class SandboxAnswer(Record):
    """What a sandbox process did: facts of a shard, the result of its samples, or why it could do neither."""

    facts: ShardFacts | None = None
    result_json: str | None = Field(None, description="rows and rejections as JSON text, see `result`")
    failure: Failure | None = None
    abort: Abort | None = None
    model: ModelState = ModelState()

    def result(self) -> UnitResult:
        """Return the rows and rejections."""
        assert self.result_json is not None, "only for an answer about samples"
        tables = json.loads(self.result_json)
        return UnitResult(tables["rows"], tables["rejections"])


class SandboxNotes(Record):
    """What is known in case the process dies of a sample."""

    score_kind: str = ""
    keys: dict[int, str] = Field(default_factory=dict, description="keys of its samples by index")


def encode_result(result: UnitResult) -> str:
    """Return rows and rejections as JSON text."""
    return json.dumps({"rows": result.rows, "rejections": result.rejections})


def write_request(folder: str, request: SandboxRequest) -> None:
    """Write the request, before the process starts."""
    Path(folder, _REQUEST).write_text(request.model_dump_json())


def read_request(folder: str) -> SandboxRequest:
    """Read the request."""
    return SandboxRequest.model_validate_json(Path(folder, _REQUEST).read_text())


def write_notes(folder: str, notes: SandboxNotes) -> None:
    """Write the notes, over earlier ones."""
    Path(folder, _NOTES).write_text(notes.model_dump_json())


def read_notes(folder: str) -> SandboxNotes:
    """Read the notes; return empty ones if the process died before it wrote them."""
    try:
        return SandboxNotes.model_validate_json(Path(folder, _NOTES).read_text())
    except (OSError, ValueError):
        return SandboxNotes()


def write_answer(folder: str, answer: SandboxAnswer) -> None:
    """Write the answer whole or not at all."""
    replace_file(Path(folder, _ANSWER), answer.model_dump_json().encode())


def read_answer(folder: str) -> SandboxAnswer | None:
    """Read the answer; return None if there is none."""
    path = Path(folder, _ANSWER)
    return SandboxAnswer.model_validate_json(path.read_text()) if path.exists() else None
