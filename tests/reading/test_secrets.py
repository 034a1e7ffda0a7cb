"""Eight planted secrets: none is found in anything that a run writes or prints."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from engine.ledger.verify import verify
from engine.storage.store import open_store
from engine.telemetry.worker_output import save_outputs
from pipelines.cli import build_app
from pipelines.compile.policy import Policy
from pipelines.compile.run import compile_view
from pipelines.exchange.export_labels import export_labels
from pipelines.label.plan.plan import plan
from pipelines.label.run import label
from pipelines.labels.inspect import draw_samples
from pipelines.labels.stats import count_labels
from tests.engine.s3_server import s3_bucket
from tests.engine.worlds import job_of, picture, tar_bytes
from tests.reading.leaky_teacher import LEAKY

MARK = "c4n4ry"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": f"{MARK}-access-key",
    "AWS_SECRET_ACCESS_KEY": f"{MARK}-secret-key",
    "AWS_SESSION_TOKEN": f"{MARK}-session",
    "HF_TOKEN": f"{MARK}-hub",
    "RAY_AUTH_TOKEN": f"{MARK}-ray",
    "PROXY_PASSWORD": f"{MARK}-proxy",
}
SIGNED = f"https://cdn.example/a.jpg?id=7&X-Amz-Signature={MARK}-signature&x-amz-credential={MARK}-credential"
SECRETS = [*ENVIRONMENT.values(), f"{MARK}-signature", f"{MARK}-profile"]


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a shard whose samples have signed URLs, and an environment full of secrets."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    profile = f"[{{}}]\naws_access_key_id = {MARK}-profile\naws_secret_access_key = {MARK}-profile\n"
    (tmp_path / "credentials").write_text(profile.format("default") + profile.format("other"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    members = [
        part
        for number, caption in enumerate(["a red patch", "the blue patch", "explode a red patch"])
        for part in (
            (f"{number}.jpg", picture()),
            (f"{number}.txt", caption.encode()),
            (f"{number}.json", json.dumps({"url": SIGNED}).encode()),
        )
    ]
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "shard.tar").write_bytes(tar_bytes(members))
    return tmp_path / "work"


def everything_in(folder: Path) -> dict[str, str]:
    """Return the content of the files of a folder; Parquet and tars are also decoded."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "shard.tar":
            text = path.read_bytes().decode("latin-1")
            if path.suffix == ".parquet":
                text += str(pq.read_table(path).to_pylist()) + str(pq.read_metadata(path).metadata)
            if path.suffix == ".tar":
                with tarfile.open(path) as archive:
                    text += "".join(
                        archive.extractfile(member).read().decode("latin-1") for member in archive
                    )
            found[str(path.relative_to(folder))] = text
    return found


def leaks(texts: dict[str, str]) -> dict[str, list[str]]:
    return {
        name: [secret for secret in SECRETS if secret in text] for name, text in texts.items() if MARK in text
    }


def test_a_run_from_label_to_export_leaves_no_secret_behind(
    planted: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    job = job_of(planted, [planted / "shard.tar"], run={"batch_size": 1})
    said = [
        plan(job, factories=LEAKY).text(),
        str(label(job, factories=LEAKY)),
        str(verify(str(planted / "out"))),
    ]
    printed = capfd.readouterr()  # the teacher's own words go where the user looks, and nowhere else
    compile_view(str(planted / "out"), Policy(), str(planted / "view"))
    export_labels(str(planted / "view"), "coco", planted / "coco.json")
    draw_samples(str(planted / "out"), planted / "pictures")
    said.append(str(count_labels(str(planted / "out")).data()))

    assert f"{MARK}-hub" in printed.err, "the teacher must tell its secrets, or this test shows nothing"
    texts = everything_in(planted) | {
        "said": "".join(said),
        "later": str(capfd.readouterr()),
        "log": caplog.text,
    }
    assert len(texts) > 10 and leaks(texts) == {}
    rows = [
        row
        for path in (planted / "out" / "data").rglob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    assert {row["source_url"] for row in rows} == {
        "https://cdn.example/a.jpg?id=7&X-Amz-Signature=***&x-amz-credential=***"
    }
    refused = [
        row
        for path in (planted / "out" / "rejected").rglob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    assert "403 for https://***@proxy/?sig=***" in refused[0]["detail"]


def test_what_workers_print_is_kept_without_secrets(planted: Path) -> None:
    printed = planted / "worker-1.err"
    printed.write_text(
        "\n".join(f"{name}: {value}" for name, value in ENVIRONMENT.items()) + f"\nGET {SIGNED}\nready\n"
    )
    store = open_store(str(planted / "out"))

    save_outputs(store, [str(printed)])
    printed.unlink()

    kept = everything_in(planted)["out/logs/worker-1.err.log"]
    assert MARK not in kept and kept.endswith("ready\n") and "HF_TOKEN" in kept


def test_a_store_that_refuses_is_named_without_the_keys_it_was_shown(planted: Path) -> None:
    with s3_bucket() as (url, storage):
        section = {"storage": {"endpoint_url": storage.endpoint_url}}
        output = {"url": f"{url}/out", "storage": {"endpoint_url": storage.endpoint_url}}
        job = job_of(planted, [f"{url}/gone.tar"], input=section, output=output)
        summary = label(job, factories=LEAKY)
        store = open_store(f"{url}/out", job.output.storage)
        texts = {path: store.read(path).decode("latin-1") for path in store.list("")}

    assert summary["failures"][0]["code"] == "SHARD_MISSING"
    assert leaks(texts | {"summary": str(summary)}) == {} and len(texts) >= 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input.urls", f"[s3://{MARK}-access-key:{MARK}-secret-key@b/k]"),
        ("input.urls", f"[s3://b/k?X-Amz-Signature={MARK}-signature]"),
        ("input.urls", f"[https://user:{MARK}-proxy@host/a.tar]"),
        ("input.storage", f"{{endpoint_url: http://user:{MARK}-proxy@host}}"),
        ("input.storage", f"{{endpoint_url: http://host?secret={MARK}-proxy}}"),
        ("input.storage", f"{{secret: {MARK}-hub}}"),
        ("output.url", f"ftp://user:{MARK}-proxy@host/x"),
    ],
)
def test_a_secret_in_a_configuration_is_refused_and_not_repeated(
    planted: Path, field: str, value: str
) -> None:
    job = job_of(planted, ["/a.tar"]).model_dump(mode="json", exclude_none=True)
    (planted / "job.yaml").write_text(json.dumps(job))

    done = CliRunner().invoke(build_app(), ["plan", str(planted / "job.yaml"), "--set", f"{field}={value}"])

    assert done.exit_code == 2, done.output
    assert done.stderr.startswith("error: ") and MARK not in done.output


def test_a_file_full_of_bytes_is_searched_too() -> None:
    sink = io.BytesIO(f"\x00{MARK}-hub\xff".encode("latin-1"))

    assert leaks({"x": sink.getvalue().decode("latin-1")}) == {"x": [f"{MARK}-hub"]}
