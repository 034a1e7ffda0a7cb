"""The teacher `vlm` in `label`, `compile`, `audit`, `evaluate`, `model info` and the Python API."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import groundswell
from engine.ledger.evidence import evidence_rows
from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.reading.shard_cache import stat_shard
from engine.storage.store import open_store
from engine.task import Task
from engine.views import open_view
from engine.worker.worker import Worker
from pipelines.audit.sampling import draw_sample
from pipelines.cli import build_app
from pipelines.cli.model_info import describe_model
from pipelines.compile.policy import Policy
from pipelines.compile.run import compile_view
from pipelines.config import load_settings
from pipelines.label.job import JobConfig
from pipelines.label.resolved_job import ResolvedJob
from pipelines.label.run import label
from pipelines.label.teacher_spec import TEACHER
from schemas.errors import ConfigError, RuntimeEnvironmentError, UnfinishedError
from schemas.ledger import FingerprintParts
from student.evaluate.run import evaluate
from teacher.registry import recognize_model
from tests.engine.worlds import COLORS, plain_captions, tar_bytes, units_of
from tests.engine.worlds import picture as engine_picture
from tests.mutations import Mutation
from tests.teacher.vlm.chat_server import KEY, MODEL, Reply
from tests.teacher.vlm.samples import PATCHES, picture

VARIABLE = "VLM_TEST_KEY"
RUN = """
import sys
from pipelines.config import load_settings
from pipelines.label.job import JobConfig
from pipelines.label.run import label
label(load_settings(sys.argv[1], JobConfig))
"""


def write_job(folder, teacher, samples=6, **run):
    """Write a job over a shard of different pictures with one patch each, and return the path of its file."""
    members = []
    for n, caption in enumerate(plain_captions(samples)):
        image = engine_picture(list(COLORS)[n % 3], width=48 + 2 * n)
        members += [(f"{n}.png", image), (f"{n}.txt", caption.encode())]
    shard = folder / "a.tar"
    shard.write_bytes(tar_bytes(members))
    job = {
        "input": {"urls": [str(shard)], "unit_samples": 4},
        "phrases": {"pipeline": "lexicon"},
        "teacher": teacher,
        "output": {"url": str(folder / "out")},
        "run": {"executor": "local", "batch_size": 2, **run},
    }
    (folder / "job.yaml").write_text(json.dumps(job))
    return folder / "job.yaml"


def load_job(path):
    return load_settings(path, JobConfig)


def rows_of(job):
    store = open_store(job.output.url)
    return list(evidence_rows(store, latest_snapshot(store)))


def write_file(folder, settings, **changes):
    """Write a settings file and return its path."""
    path = folder / "endpoint.yaml"
    path.write_text(json.dumps(settings(**changes)))
    return path


@pytest.fixture
def evidence(tmp_path, settings):
    """Label six samples and return the output's folder."""
    label(load_job(write_job(tmp_path, settings())))
    return tmp_path / "out"


def test_a_job_is_labeled_and_its_records_have_neither_the_key_nor_a_path(
    tmp_path, settings, server, monkeypatch
):
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.chdir(tmp_path)
    (tmp_path / MODEL).mkdir()  # a folder with the model's name is not the model
    server.key = KEY
    job = load_job(write_job(tmp_path, settings(api_key_env=VARIABLE)))

    summary = label(job)

    rows = rows_of(job)
    assert summary["samples"]["in"] == len(rows) == 6
    for row in rows:
        patch = next(n for n, phrase in enumerate(row["phrases"]) if "patch" in phrase["text"])
        (region,) = [region for region in row["regions"] if region["phrase"] == patch]
        box = np.array([region[side] for side in ("x0", "y0", "x1", "y1")])
        assert np.abs(box - [4, 4, row["width"] // 2, 16]).max() <= 1 and region["score"] == 1.0
    assert json.loads(next((tmp_path / "out/jobs").iterdir()).read_text())["job"]["teacher"]["model"] == MODEL
    stored = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(list((tmp_path / "out/answers").rglob("*.json"))) == len(server.received)
    assert not any(KEY.encode() in data for data in stored)


def test_a_worker_reports_progress_for_each_question_of_a_batch(tmp_path, settings, server):
    job = load_job(write_job(tmp_path, settings(concurrency=1), samples=4, batch_size=4))
    steps, at_request = [], []
    worker = Worker(ResolvedJob.resolve(job, TEACHER).spec, progress=lambda: steps.append(None))
    shard = stat_shard(str(tmp_path / "a.tar"))
    (unit,) = units_of(worker.run(Task(shard=shard)).facts, 4)
    parts = dict.fromkeys(FingerprintParts.model_fields, "sha256:x") | {"first": 0, "count": 4}

    def answer(request):
        at_request.append(len(steps))
        return server.see(request)

    server.respond = answer
    outcome = worker.run(Task(shard=shard, unit=unit, parts=FingerprintParts(**parts)))

    assert outcome.failure is None and at_request == [4, 5, 6, 7]


def test_a_killed_run_goes_on_with_the_kept_answers_and_asks_the_open_request_again(
    tmp_path, settings, server, project_root
):
    path = write_job(tmp_path, settings(concurrency=1))
    environment = {**os.environ, "PYTHONPATH": str(project_root)}
    child = subprocess.Popen([sys.executable, "-c", RUN, str(path)], env=environment, stderr=subprocess.PIPE)

    def kill_at_the_fourth(request):
        if len(server.received) == 4:
            os.kill(child.pid, signal.SIGKILL)
        return server.see(request)

    server.respond = kill_at_the_fourth
    _, errors = child.communicate(timeout=100)
    assert child.returncode == -signal.SIGKILL, errors.decode()
    server.respond = server.see

    summary = label(load_job(path))

    asked = len(server.received)
    assert asked == 6 + 1 and summary["samples"]["in"] == 6
    label(load_job(write_job(tmp_path, settings(concurrency=1))))
    assert len(server.received) == asked


def test_an_endpoint_that_refuses_ends_the_run_and_the_same_command_goes_on(tmp_path, settings, server):
    path = write_job(tmp_path, settings(concurrency=1))
    server.respond = lambda request: (
        server.see(request) if len(server.received) <= 2 else Reply(status=401, raw=b"expired")
    )

    with pytest.raises(RuntimeEnvironmentError, match="HTTP 401: expired"):
        label(load_job(path))
    server.respond = server.see

    assert label(load_job(path))["samples"]["in"] == 6 and len(server.received) == 6 + 1


def test_samples_with_bad_answers_are_rejected_and_a_unit_of_them_is_a_broken_teacher(
    tmp_path, settings, server
):
    server.respond = lambda request: Reply("no") if "red" in request.texts[0] else server.see(request)
    some = label(load_job(write_job(tmp_path, settings())))
    assert some["samples"]["rejected"] == {"TEACHER_ANSWER": 2}

    server.respond = lambda request: Reply("no")
    (tmp_path / "other").mkdir()
    none = label(load_job(write_job(tmp_path / "other", settings(revision="2"))))
    assert none["samples"]["labelled"] == 0 and none["units"]["failed"] == 2


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"min_score": 0.7}, "min_score 0.7"),
        ({"candidate_score": 0.2}, "candidate_score 0.2"),
        ({"ignore_score": 0.2}, "ignore_score 0.2"),
        ({"class_only_below": 0.9}, "class_only_below 0.9"),
        ({"weight": "score"}, 'weight "score"'),
        ({"weight": "ramp", "weight_ramp": (0.2, 0.6)}, r"weight_ramp \[0.2, 0.6\]"),
        ({"calibration": {"score_kind": "none", "points": [(0, 0), (1, 1)]}}, "calibration {"),
        ({"one_to_one": True}, "one_to_one true"),
        ({"max_regions_per_phrase": 2}, "max_regions_per_phrase 2"),
        ({"max_candidates_per_phrase": 2}, "max_candidates_per_phrase 2"),
    ],
)
def test_a_policy_that_decides_by_score_is_refused_by_name(fields, named):
    with pytest.raises(ConfigError, match=f"no scores .*: .*{named}.*Leave these settings out"):
        Policy(**fields).check_score_kind("none")
    if "calibration" not in fields:
        Policy(**fields).check_score_kind("owlv2.sigmoid")


def test_the_view_of_a_default_policy_is_audited_in_one_stratum(evidence, tmp_path):
    report = compile_view(str(evidence), Policy(ignore_score=None), str(tmp_path / "view"))
    view = open_view(str(tmp_path / "view"))

    sample = draw_sample(view, seed=0, n=4)

    assert report.score_kind == "none" and [one.name for one in sample.strata] == ["0-1"]
    for asked in ({"bins": 5}, {"edges": [0.5]}):
        with pytest.raises(ConfigError, match="no scores .* so there are no score strata; leave it out"):
            draw_sample(view, seed=0, n=4, **asked)
    with pytest.raises(ConfigError, match="min_score 0.7"):
        compile_view(str(evidence), Policy(min_score=0.7), str(tmp_path / "other"))


@pytest.fixture
def gold(tmp_path):
    """Write two pictures with a red and a green patch, and their boxes."""
    gold = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}],
    }
    for n in range(2):
        Image.fromarray(picture(patches={"red": (10, 12, 70, 60 + n), "green": (80, 20, 150, 90)})).save(
            tmp_path / f"{n}.png"
        )
        gold["images"].append(
            {"id": n, "file_name": f"{n}.png", "width": 160, "height": 120, "caption": "a red patch"}
        )
        box = {"id": 2 * n, "image_id": n, "category_id": 1, "bbox": [10, 12, 60, 48 + n]}
        gold["annotations"].append({**box, "tokens_positive": [[0, 11]]})
        gold["annotations"].append({**box, "id": 2 * n + 1, "category_id": 2, "bbox": [80, 20, 70, 70]})
    (tmp_path / "gold.json").write_text(json.dumps(gold))
    return tmp_path / "gold.json"


def test_a_settings_file_is_evaluated_as_a_model(gold, tmp_path, settings):
    report = evaluate(write_file(tmp_path, settings), gold, tmp_path, bootstrap=0)

    assert report["AP50"] == pytest.approx(1.0) and report["recall_at"]["1"] == 1.0
    assert report["detections"] == 4 and "unread" not in report


def test_answers_that_cannot_be_read_are_counted_in_an_evaluation(gold, tmp_path, settings, server):
    server.respond = lambda request: Reply("no") if len(server.received) == 1 else server.see(request)
    path = write_file(tmp_path, settings, concurrency=1)

    report = evaluate(path, gold, tmp_path, bootstrap=0, batch_size=1, phrases=False)

    assert report["detections"] == 2 and 0 < report["AP50"] < 1
    assert report["unread"] == {"the answer has no list of boxes: no": 1}
    assert report["notes"][0].startswith(f"1 questions to {path} have no usable answer and count as no box")


@pytest.mark.parametrize("status", [400, 413, 422, 500])
def test_requests_that_the_endpoint_refuses_are_counted_in_an_evaluation(
    gold, tmp_path, settings, server, status
):
    refusal = Reply(status=status, raw=b'{"error": {"message": "too long"}}')
    server.respond = lambda request: refusal if len(server.received) == 1 else server.see(request)
    path = write_file(tmp_path, settings, concurrency=1, retries=0)

    report = evaluate(path, gold, tmp_path, bootstrap=0, phrases=False)

    ((reason, count),) = report["unread"].items()
    assert report["detections"] == 2 and count == 1 and f"HTTP {status}: too long" in reason


@pytest.mark.parametrize("reply", [Reply("no"), Reply(status=400, raw=b"no")], ids=["unreadable", "refused"])
@pytest.mark.parametrize("answered", [0, 2], ids=["all", "phrases"])
def test_an_evaluation_fails_if_most_questions_have_no_usable_answer(
    gold, tmp_path, settings, server, reply, answered
):
    server.respond = lambda request: server.see(request) if len(server.received) <= answered else reply
    path = write_file(tmp_path, settings, concurrency=1)

    with pytest.raises(UnfinishedError, match=rf"^2 of 2 questions to {path} have no usable answer, .*no\. "):
        evaluate(path, gold, tmp_path, bootstrap=0, results_to=tmp_path / "results.json")
    assert len(server.received) == 2 + answered and not (tmp_path / "results.json").exists()


def test_a_teacher_is_loaded_by_a_settings_file_or_by_its_settings(tmp_path, settings):
    own = settings(max_side=320)
    by_file = groundswell.load_teacher(write_file(tmp_path, settings, max_side=320))
    by_name = groundswell.load_teacher(own.pop("model"), kind=own.pop("kind"), **own)

    rows = [each.ground(picture(), "a red box and a dog") for each in (by_file, by_name)]

    assert rows[0] == rows[1] and len(rows[0]["regions"]) == 1
    assert by_file.labeler.digest == by_name.labeler.digest
    by_file.labeler.close()
    by_name.labeler.close()


def test_a_job_takes_a_settings_file_and_records_what_it_says(tmp_path, settings, server):
    path = write_file(tmp_path, settings)
    job = load_job(write_job(tmp_path, {"kind": "vlm", "model": str(path), "max_tokens": 99}))

    assert (job.teacher.model, job.teacher.revision, job.teacher.max_tokens) == (MODEL, "2026-01", 99)
    assert job.identity()["teacher"]["base_url"] == server.url and str(path) not in json.dumps(job.identity())
    assert JobConfig.model_validate(job.model_dump()) == job


def test_one_image_is_tried_with_a_settings_file(tmp_path, settings, server, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture()).save("photo.png")
    words = ("teacher", "try", str(write_file(tmp_path, settings, image_format="png")), "photo.png")

    result = CliRunner().invoke(build_app(), [*words, "--phrases", "a red box, a dog", "--json"])

    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    ((box,), none) = (phrase["boxes"] for phrase in answer["phrases"])
    assert [box[side] for side in ("x0", "y0", "x1", "y1")] == pytest.approx(PATCHES["red"], abs=1)
    assert (answer["kind"], answer["score_kind"], box["score"], none) == ("vlm", "none", 1.0, [])
    assert Path("photo-boxes.png").is_file() and len(server.received) == 1


def test_a_failed_try_is_one_message(tmp_path, settings, server, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture()).save("photo.png")
    words = ("teacher", "try", str(write_file(tmp_path, settings)), "photo.png", "--phrases", "dog")

    for reply, code, named in (
        (Reply("no"), 1, "no list of boxes"),
        (Reply(status=422, raw=b"too long"), 1, "HTTP 422: too long"),
        (Reply(status=401, raw=b"who"), 6, "HTTP 401: who"),
    ):
        server.first = [reply]
        result = CliRunner().invoke(build_app(), list(words))
        assert (result.exit_code, len(result.stderr.splitlines())) == (code, 1) and named in result.stderr
    assert not Path("photo-boxes.png").exists()


def test_model_info_describes_a_settings_file_without_a_request(tmp_path, settings, server):
    path = write_file(tmp_path, settings)

    facts = describe_model(path)

    assert recognize_model(path)[0] == facts["kind"] == "vlm"
    assert (facts["model"], facts["revision"], facts["style"]) == (MODEL, "2026-01", "json")
    assert facts["digest"].startswith("sha256:") and server.received == []
    for text in ("kind: glip", "[1]", "a: [", "\x00"):
        path.write_text(text)
        with pytest.raises(ConfigError, match="is not a known model; expected .*kind: vlm"):
            recognize_model(path)


_POLICY, _RULES = "pipelines/compile/policy.py", "pipelines/compile/rules"
_PREDICTORS = "student/evaluate/predictors.py"
MUTATIONS = (
    Mutation("engine/worker/loading.py", "labeler.keep_answers(self._store)", "pass", "test_a_killed_run"),
    Mutation("engine/worker/loading.py", "labeler.report_progress(self._progress)", "pass", "test_a_worker_reports"),
    Mutation("engine/worker/label_unit.py", '"TEACHER_ANSWER", ', "", "test_samples_with_bad_answers"),
    Mutation("pipelines/label/job.py", " if self.teacher.model_is_path else values", "", "test_a_job_is_labeled"),
    Mutation(_POLICY, "            self._check_no_scores()\n", "            pass\n", "test_a_policy_that_decides"),
    Mutation(_POLICY, "        if used:\n", "        if False:\n", "test_the_view_of_a_default_policy"),
    Mutation(_POLICY, '("class_only_below", "weight", ', '("class_only_below", ', "test_a_policy_that_decides"),
    Mutation(f"{_RULES}/over_cap.py", 'score_fields=("max_regions_per_phrase",),', "", "test_a_policy_that_decides"),
    Mutation(f"{_RULES}/lost_assignment.py", 'score_fields=("one_to_one",),', "", "test_a_policy_that_decides"),
    Mutation("pipelines/audit/sampling.py", "        if asked:\n", "        if False:\n", "test_the_view_of_a_default"),
    Mutation(_PREDICTORS, "code not in self._unreadable", "code", "test_answers_that"),
    Mutation(_PREDICTORS, ' | {"TEACHER_ERROR"}', "", "test_requests_that_the_endpoint"),
    Mutation(_PREDICTORS, "unread.total() > MAX_UNREAD * asked", "False", "test_an_evaluation_fails"),
)  # fmt: skip
