"""A resumed job with nothing to do loads no model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pipelines.label.teacher_spec import TEACHER
from pipelines.label.job import JobConfig
job = JobConfig.model_validate_json(sys.argv[1])
TEACHER.of_labeler(job), TEACHER.of_finder(job)
print(sorted({'torch', 'transformers', 'ray', 'spacy'} & set(sys.modules)))
"""


@pytest.mark.parametrize("kind", ["detector", "glip"])
def test_the_digests_of_a_job_are_taken_without_loading_its_models_or_their_libraries(
    tmp_path: Path, project_root: Path, kind: str
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    model = tmp_path if kind == "glip" else tmp_path / "model.safetensors"
    sections = {"input": {"urls": ["a.tar"]}, "teacher": {"kind": kind, "model": str(model)}}
    job = json.dumps(sections | {"output": {"url": "out"}})

    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT, job], cwd=project_root, capture_output=True, text=True, timeout=60
    )

    assert (answer.stdout.strip(), answer.stderr) == ("[]", "")
