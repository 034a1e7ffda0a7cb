"""What a sandbox process does with its request. It runs in the sandbox process."""

from __future__ import annotations

from collections.abc import Callable

from engine.storage.store import open_store
from engine.telemetry.task_log import TaskLog
from engine.worker.errors import outcome_of
from engine.worker.label_stage import LabelStage
from engine.worker.open_shards import OpenShards
from engine.worker.sandbox.messages import (
    SandboxAnswer,
    SandboxNotes,
    SandboxRequest,
    encode_result,
    write_notes,
)
from engine.worker.stage import Stage
from schemas.ledger import Unit


def respond(
    request: SandboxRequest, folder: str, when_ready: Callable[[], None], progress: Callable[[], None]
) -> SandboxAnswer:
    """Do a request and return the answer.

    when_ready: called when the models are loaded and the first sample comes next
    raises:     MemoryError, and every error of opening the store: the process then ends before it is ready
    """
    spec, task = request.spec, request.task
    store = open_store(spec.output_url, spec.output_storage)
    shards = OpenShards(spec.input, store)
    stage = LabelStage(spec, store, shards, TaskLog(spec.run_name), progress)
    try:
        if task.unit is None:
            when_ready()
            return SandboxAnswer(facts=shards.index(task.shard))
        return _work(stage, request, task.unit, folder, when_ready)
    except MemoryError:
        raise
    except Exception as error:
        outcome = outcome_of(task, error)
        return SandboxAnswer(failure=outcome.failure, abort=outcome.abort)


def _work(
    stage: Stage, request: SandboxRequest, unit: Unit, folder: str, when_ready: Callable[[], None]
) -> SandboxAnswer:
    work = stage.open_unit(request.task.shard, unit, range(request.first, request.stop))
    score_kind = stage.state().score_kind
    write_notes(folder, SandboxNotes(score_kind=score_kind))
    when_ready()
    work.begin()
    write_notes(folder, SandboxNotes(score_kind=score_kind, keys=work.keys))
    result = stage.finish(work)
    return SandboxAnswer(result_json=encode_result(result), model=stage.state())
