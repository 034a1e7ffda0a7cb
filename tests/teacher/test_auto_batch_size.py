"""`run.batch_size: auto`: the labeler's process decides, and running out of memory lowers it as any other size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from engine.settings import RunSettings
from engine.worker.batching import label_in_batches
from schemas.errors import OutOfMemoryError
from teacher.factories import make_labeler
from teacher.labelers.vlm import VlmTeacher
from teacher.registry import AUTO_ROWS_ON_GPU, TEACHERS
from teacher.vlm.settings import VlmSettings
from tests.engine.small_teacher import SmallLabeler
from tests.mutations import Mutation
from tests.teacher.huggingface.grounding_dinos import make_sample

MUTATIONS = [
    Mutation(
        "teacher/factories.py", 'rows = teacher.choose_batch_size(loaded) if batch_size == "auto" else batch_size',
        "rows = 16", "test_on_a_cpu_a_batch_has_one_row",
    ),
]  # fmt: skip


def test_on_a_cpu_a_batch_has_one_row(glip_folder):
    settings = {"kind": "glip", "model": str(glip_folder), "device": "cpu"}

    assert make_labeler(settings, "auto", 0.1).batch_size == 1
    assert make_labeler(settings, 3, 0.1).batch_size == 3


@pytest.mark.parametrize(("device", "rows"), [("auto", AUTO_ROWS_ON_GPU), ("cpu", 1)])
def test_on_a_gpu_a_batch_begins_with_many_rows_unless_the_cpu_was_asked_for(device, rows, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    entry = TEACHERS.load("glip")
    settings = entry.settings_class.model_validate({"kind": "glip", "model": "x", "device": device})

    assert entry.choose_batch_size(settings) == rows


def test_an_endpoint_gets_as_many_rows_as_requests_may_be_open():
    settings = VlmSettings(
        model="m", base_url="http://localhost:1/v1", revision="1", style="json", concurrency=5
    )

    assert VlmTeacher().choose_batch_size(settings) == 5


def test_many_rows_are_halved_until_they_fit():
    class Small(SmallLabeler):
        def label(self, batch):
            if len(batch) > 5:
                raise OutOfMemoryError("64 rows do not fit")
            return super().label(batch)

    labeler = Small({}, "sha256:small", AUTO_ROWS_ON_GPU, 0.05)
    picture = np.zeros((40, 40, 3), dtype=np.uint8)
    item = labeler.prepare(make_sample("a red dog", ["dog"], size=(40, 40)), picture)
    prepared = [(number, item) for number in range(9)]

    answers = list(label_in_batches(labeler, prepared))

    assert [answer.position for answer in answers] == list(range(9))
    assert labeler.batch_size == 4 and all(answer.rejected is None for answer in answers)


def test_a_job_takes_a_number_or_auto_and_nothing_else():
    assert RunSettings(batch_size="auto").batch_size == "auto"
    assert RunSettings(batch_size=8).batch_size == 8
    for wrong in ("many", 0, 5000, 2.5):
        with pytest.raises(ValidationError):
            RunSettings.model_validate({"batch_size": wrong})
