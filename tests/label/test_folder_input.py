"""Folders of images through `label`: each image once, a changed file redoes its folder, and rows lead to the files."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engine.ledger.evidence import evidence_rows, read_rejections
from engine.ledger.snapshots.snapshots import latest_snapshot, snapshot_entries
from engine.ledger.verify import verify
from engine.reading.folders.shard import FolderShard
from engine.reading.range_reader import RangeReader
from engine.reading.shards import MAX_MEMBER_BYTES
from engine.storage.store import open_store
from pipelines.cli import build_app
from pipelines.compile.materialize import materialize_webdataset
from pipelines.compile.policy import Policy
from pipelines.compile.run import compile_view
from pipelines.label.job import JobConfig
from pipelines.label.plan.plan import plan
from pipelines.label.plan.report import CHANGED, UNREAD
from pipelines.label.retry import retry
from pipelines.label.run import label
from pipelines.label.teacher_spec import TEACHER, Factories
from pipelines.label.verify_against_shards import verify_deep
from pipelines.labels.inspect import draw_samples
from schemas.errors import ConfigError, ConflictError, NotFoundError
from teacher.settings import PhraseSettings
from tests.engine.s3_server import s3_bucket
from tests.engine.small_teacher import FACTORIES, HERE
from tests.engine.worlds import COLORS, data_files, job_of, picture, plain_captions
from tests.mutations import Mutation
from tests.reading.calm_teacher import CALM
from tests.teacher.conftest import glip_folder  # noqa: F401 - a fixture

REAL_FINDER = Factories(labeler=f"{HERE}:labeler", labeler_digest=f"{HERE}:labeler_digest", takes_given=True)
SOURCES, JOB, SPEC = (
    "engine/reading/shard_sources.py",
    "pipelines/label/job.py",
    "pipelines/label/teacher_spec.py",
)
PIXELS = "engine/reading/pixels.py"
GIVEN_TEST, CHANGE_TEST = "test_given_phrases_are_asked", "test_a_folder_that_changes"
MUTATIONS = (
    Mutation(SOURCES, "        if now != stat:\n            raise changed_shard_error(stat, now)\n", "", CHANGE_TEST),
    Mutation(SOURCES, "        self.fetch(stat)\n", "        pass\n", CHANGE_TEST),
    Mutation("engine/ledger/shard_facts.py", 'f"\\n{settings.reading().digest()}"', '""', "test_another_table_column"),
    Mutation(PIXELS, "if where.length is None and len(data)", "if len(data) < 0 and len(data)", "test_an_image_that"),
    Mutation("pipelines/label/resolved_job.py", '{"input": job.input_settings()}', "{}", GIVEN_TEST),
    Mutation(JOB, 'job["input"].pop("phrases", None)', "pass", "test_the_digest_of_a_job"),
    Mutation(SPEC, " or bool(job.phrases.given)", "", "test_a_detector_takes_given_phrases"),
    Mutation("pipelines/label/verify_against_shards.py", '"phrases": given}', '"phrases": ()}', GIVEN_TEST),
)  # fmt: skip


def write_folder(folder: Path, captions: list[str], suffix: str = "png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, caption in enumerate(captions):
        (folder / f"{index:03d}.{suffix}").write_bytes(picture(list(COLORS)[index % 3]))
        (folder / f"{index:03d}.txt").write_text(caption)
    return folder


@pytest.fixture
def web(tmp_path: Path) -> Path:
    """Return a folder with 20 images, and one in it with 12."""
    write_folder(tmp_path / "web", plain_captions(20))
    write_folder(tmp_path / "web" / "more", plain_captions(12))
    return tmp_path / "web"


def folder_job(tmp_path: Path, *urls: Path | str, **section: Any) -> JobConfig:
    changes = {name: section.pop(name) for name in ("output", "run", "phrases", "teacher") if name in section}
    phrases = changes.pop("phrases", {})
    job = job_of(tmp_path, urls, input={"format": "folder", **section}, **changes)
    return JobConfig.model_validate({**job.model_dump(), "phrases": phrases})


def run(job: JobConfig, **options: Any) -> dict[str, Any]:
    return {**label(job, factories=options.pop("factories", FACTORIES), **options)}


def rows_of(url: str) -> list[dict[str, Any]]:
    store = open_store(url)
    return [dict(row) for row in evidence_rows(store, latest_snapshot(store))]


def codes_of(url: str) -> dict[str, str]:
    """Return the code of each rejected sample by its key."""
    store = open_store(url)
    entries = snapshot_entries(store, latest_snapshot(store))
    return {row["key"]: row["code"] for entry in entries for row in read_rejections(store, entry).to_pylist()}


def test_every_image_of_a_folder_is_labeled_or_rejected_once(tmp_path: Path, web: Path) -> None:
    (web / "noted.jpg").write_bytes(picture())
    (web / "readme.txt").write_text("about these photographs")
    (web / "more" / "000.txt").write_bytes(b"\xff")

    summary = run(folder_job(tmp_path, web))

    rejected = {"CAP_MISSING": 1, "CAP_UTF8": 1, "IMG_MISSING": 1}
    assert summary["samples"] == {"in": 34, "labelled": 31, "empty": 0, "rejected": rejected}
    assert summary["units"] == {"planned": 5, "committed": 5, "failed": 0, "pending": 0, "quarantined": 0}
    expected = {"noted.jpg": "CAP_MISSING", "readme.txt": "IMG_MISSING", "000.png": "CAP_UTF8"}
    assert codes_of(summary["output"]) == expected
    rows = rows_of(summary["output"])
    assert sorted(row["pixels"]["url"] for row in rows) == sorted(
        str(path) for path in web.rglob("*.png") if path != web / "more" / "000.png"
    )
    assert {row["shard"] for row in rows} == {str(web), str(web / "more")}
    assert verify_deep(summary["output"])["digest"] == summary["digest"]


def test_labeling_again_redoes_nothing_and_a_touched_file_is_only_read_again(
    tmp_path: Path, web: Path
) -> None:
    job = folder_job(tmp_path, web)
    first = run(job)
    before = data_files(tmp_path / "out")
    assert run(job) == first and not plan(job, FACTORIES).has_work

    os.utime(web / "more" / "001.png", ns=(1, 1))

    assert [shard.why for shard in plan(job, FACTORIES).shards] == [{}, {CHANGED: 1}]
    assert run(job)["digest"] == first["digest"] and data_files(tmp_path / "out") == before
    assert not plan(job, FACTORIES).has_work


CHANGES = {
    "image": lambda web: (web / "more" / "001.png").write_bytes(picture("blue", 64, 64)),
    "caption": lambda web: (web / "more" / "001.txt").write_text("a blue patch"),
    "added": lambda web: (web / "more" / "0005.png").write_bytes(picture()),
    "removed": lambda web: (web / "more" / "001.png").unlink(),
    "renamed": lambda web: (web / "more" / "001.png").rename(web / "more" / "001.webp"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_redoes_the_units_of_its_folder_and_plan_says_so(
    tmp_path: Path, web: Path, change: str
) -> None:
    job = folder_job(tmp_path, web)
    first = run(job)
    kept = {row["key"]: row for row in rows_of(first["output"]) if row["shard"] == str(web)}
    CHANGES[change](web)

    report = plan(job, FACTORIES)
    again = run(job)

    assert [shard.why for shard in report.shards] == [{}, {CHANGED: 1}]
    assert f"1 units: {CHANGED}" in report.text()
    fresh = run(
        job.model_copy(update={"output": job.output.model_copy(update={"url": str(tmp_path / "fresh")})})
    )
    assert again["digest"] == fresh["digest"] != first["digest"]
    assert {row["key"]: row for row in rows_of(again["output"]) if row["shard"] == str(web)} == kept
    assert len(list((tmp_path / "out" / "commits").rglob("*.json"))) == 5 + 2
    assert not plan(job, FACTORIES).has_work


def test_a_new_folder_is_new_work_alone(tmp_path: Path, web: Path) -> None:
    job = folder_job(tmp_path, web)
    run(job)
    write_folder(web / "new", plain_captions(3))

    assert [shard.why for shard in plan(job, FACTORIES).shards] == [{}, {}, {UNREAD: 1}]
    assert run(job)["samples"]["in"] == 35


def test_another_table_column_or_suffix_is_read_anew(tmp_path: Path) -> None:
    write_folder(tmp_path / "web", plain_captions(3))
    (tmp_path / "web" / "t.csv").write_text("file_name,name,caption\n000.png,gone.png,a red patch\n")
    first = run(folder_job(tmp_path, tmp_path / "web", captions="t.csv"))

    by_other = run(folder_job(tmp_path, tmp_path / "web", captions="t.csv", file_name="name"))

    assert first["samples"]["rejected"] == {"CAP_MISSING": 2}
    assert by_other["samples"] == {
        "in": 4,
        "labelled": 0,
        "empty": 0,
        "rejected": {"CAP_MISSING": 3, "IMG_MISSING": 1},
    }


@pytest.mark.parametrize("name", ["003.png", "003.txt", "new.png"])
def test_a_folder_that_changes_while_it_is_labeled_leaves_no_commit(
    tmp_path: Path, web: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = folder_job(tmp_path, web, run={"executor": "local", "batch_size": 4})
    read = FolderShard.images

    def change_then_read(shard: FolderShard, wanted: Any) -> Any:
        data = list(read(shard, wanted))
        (web / name).write_bytes(picture("blue"))
        return iter(data)

    monkeypatch.setattr(FolderShard, "images", change_then_read)
    summary = run(job)
    commits = len(list((tmp_path / "out" / "commits").rglob("*.json")))
    monkeypatch.undo()

    assert summary["units"]["failed"] == 3 and commits == 2
    failed = latest_snapshot(open_store(summary["output"])).failed
    assert {one.code for one in failed} == {"INPUT_CHANGED"} and {one.shard for one in failed} == {str(web)}
    assert run(job)["units"]["failed"] == 0


def test_a_linked_folder_out_of_the_input_is_a_failed_shard_and_retry_reads_it_once_it_is_a_folder(
    tmp_path: Path, web: Path
) -> None:
    write_folder(tmp_path / "private", plain_captions(2))
    (web / "out").symlink_to(tmp_path / "private")

    summary = run(folder_job(tmp_path, web))

    assert summary["units"]["failed"] == 1 and summary["samples"]["in"] == 32
    assert "name that folder in input.urls" in latest_snapshot(open_store(summary["output"])).failed[0].detail
    (web / "out").unlink()
    write_folder(web / "out", plain_captions(2))
    assert retry(summary["output"], factories=FACTORIES)["samples"]["in"] == 34


def test_keys_are_file_names_and_a_selection_names_them(tmp_path: Path, web: Path) -> None:
    (web / "004.jpg").write_bytes(picture("blue", suffix="JPEG"))
    (tmp_path / "keys.txt").write_text("004.png\n004.jpg\n")

    summary = run(folder_job(tmp_path, web, only=str(tmp_path / "keys.txt")))

    assert sorted((row["shard"], row["key"]) for row in rows_of(summary["output"])) == [
        (str(web), "004.jpg"), (str(web), "004.png"), (str(web / "more"), "004.png")
    ]  # fmt: skip
    assert summary["samples"]["rejected"] == {"NOT_SELECTED": 30}


def test_every_consumer_finds_the_image_files_of_the_rows(tmp_path: Path, web: Path) -> None:
    (web / "what? #1 100%20 ü.png").write_bytes(picture("blue"))
    (web / "what? #1 100%20 ü.txt").write_text("a blue patch")
    url = run(folder_job(tmp_path, web))["output"]
    view = str(tmp_path / "view")

    report = compile_view(url, Policy(min_score=0.05), view)
    pictures = draw_samples(
        view, tmp_path / "pictures", keys=["what? #1 100%20 ü.png", f"{web}/more/003.png"]
    )
    tars = materialize_webdataset(view, str(tmp_path / "tars"))

    rows = rows_of(url)
    assert report.samples.kept == len(rows) == tars.samples == 33
    assert len(pictures.pictures) == 2
    reader = RangeReader()
    assert all(reader.read(row["pixels"]) == Path(row["pixels"]["url"]).read_bytes() for row in rows)
    moved = web.rename(tmp_path / "moved")
    assert all(RangeReader({str(web): str(moved)}).read(row["pixels"]) for row in rows)
    assert verify_deep(url, roots={str(web): str(moved)})["samples"]["in"] == 33
    with pytest.raises(ConflictError):
        verify_deep(url)
    (moved / "001.txt").write_text("another caption")
    with pytest.raises(ConflictError, match=r"sample 1 \('001.png'\): caption is 'another caption'"):
        verify_deep(url, roots={str(web): str(moved)})


def test_a_link_inside_the_input_is_verified_where_the_input_is_now(tmp_path: Path) -> None:
    write_folder(tmp_path / "web" / "all", plain_captions(2))
    (tmp_path / "web" / "train").mkdir()
    for name in ("000.png", "000.txt"):
        (tmp_path / "web" / "train" / name).symlink_to(f"../all/{name}")
    summary = run(folder_job(tmp_path, tmp_path / "web"))
    assert summary["samples"]["labelled"] == 3
    moved = (tmp_path / "web").rename(tmp_path / "moved")

    assert (
        verify_deep(summary["output"], roots={str(tmp_path / "web"): str(moved)})["samples"]["labelled"] == 3
    )


def test_an_image_that_grew_since_is_not_read_into_memory(tmp_path: Path) -> None:
    url = run(folder_job(tmp_path, write_folder(tmp_path / "web", plain_captions(1))))["output"]
    (row,) = rows_of(url)
    with open(row["pixels"]["url"], "wb") as file:
        file.truncate(MAX_MEMBER_BYTES + 1)

    with pytest.raises(NotFoundError, match="differs from the one that was labeled"):
        RangeReader().read(row["pixels"])


def test_a_bucket_of_images_gives_the_rows_of_the_same_disk_folder(tmp_path: Path) -> None:
    web = write_folder(tmp_path / "web", plain_captions(5))
    write_folder(web / "more", plain_captions(2))
    here = run(folder_job(tmp_path, web))
    with s3_bucket() as (bucket, storage):
        from engine.storage.filesystems import open_filesystem

        filesystem, path = open_filesystem(f"{bucket}/web", storage)
        for file in web.rglob("*.*"):
            filesystem.pipe_file(f"{path}/{file.relative_to(web)}", file.read_bytes())
        job = folder_job(
            tmp_path, f"{bucket}/web", storage=storage.model_dump(), output={"url": str(tmp_path / "far")}
        )
        there = run(job)
        assert not plan(job, FACTORIES).has_work
        rows = rows_of(there["output"])
        assert all(
            RangeReader(storage=storage).read(row["pixels"]) == RangeReader().read(near["pixels"])
            for row, near in zip(
                rows[:3], by_place(rows_of(here["output"]), rows[:3], web, f"{bucket}/web"), strict=True
            )
        )
        assert verify_deep(there["output"], input_storage=storage)["digest"] == there["digest"]
    assert there["samples"] == here["samples"]
    named = {str(web): f"{bucket}/web"}
    far = {(row["shard"], row["key"]): contents(row) for row in rows}
    near = {
        (row["shard"].replace(str(web), named[str(web)]), row["key"]): contents(row)
        for row in rows_of(here["output"])
    }
    assert far == near


def by_place(
    near: list[dict[str, Any]], far: list[dict[str, Any]], web: Path, url: str
) -> list[dict[str, Any]]:
    at = {(row["shard"].replace(str(web), url), row["key"]): row for row in near}
    return [at[row["shard"], row["key"]] for row in far]


def contents(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("unit", "shard", "pixels")}


# ---- given phrases

GIVEN = ["chien", "red car", "Ampel?", "a [SEP] b"]


def test_given_phrases_are_asked_of_every_image_and_no_caption_is_read(tmp_path: Path, web: Path) -> None:
    (web / "000.txt").write_bytes(b"\xff")
    (web / "new.jpg").write_bytes(picture())
    phrases = {"given": GIVEN, "pipeline": "lexicon"}

    job = folder_job(tmp_path, web, phrases=phrases)
    summary = run(job, factories=REAL_FINDER)

    rows = rows_of(summary["output"])
    assert summary["samples"] == {"in": 33, "labelled": 33, "empty": 0, "rejected": {}}
    assert {row["caption"] for row in rows} == {"chien. red car. Ampel?. a [SEP] b"}
    for row in rows:
        assert [(one["text"], one["kind"], one["groundable"]) for one in row["phrases"]] == [
            (text, "given", True) for text in GIVEN
        ]
        assert row["dropped_phrases"] == []
        assert all(row["caption"][one["begin"] : one["end"]] == one["text"] for one in row["phrases"])
    assert [one["root"] for one in rows[0]["phrases"]][1] == "car"
    assert verify_deep(summary["output"])["digest"] == summary["digest"]
    (web / "000.txt").write_text("no caption is read")
    assert not plan(job, REAL_FINDER).has_work

    more = plan(folder_job(tmp_path, web, phrases={**phrases, "given": [*GIVEN, "cat"]}), REAL_FINDER)
    assert more.has_work and more.totals()["shards_unread"] == 2
    recorded = json.loads(next((tmp_path / "out" / "jobs").glob("*.json")).read_text())["job"]
    assert recorded["phrases"]["given"] == GIVEN and "phrases" not in recorded["input"]
    assert JobConfig.model_validate({**recorded, "output": {"url": "x"}}).digest() == job.digest()


def test_the_digest_of_a_job_is_that_of_its_resolved_form(tmp_path: Path, web: Path) -> None:
    job = folder_job(tmp_path, web, phrases={"given": ["dog"]})

    resolved = job.model_copy(update={"input": job.input_settings()})

    assert resolved.input.phrases == ("dog",) and resolved.digest() == job.digest()
    assert folder_job(tmp_path, web, phrases={"given": ["cat"]}).digest() != job.digest()


def test_a_detector_takes_given_phrases_by_their_head(tmp_path: Path) -> None:
    job = folder_job(tmp_path, "x", phrases={"given": ["dog"]})
    plain = folder_job(tmp_path, "x")

    assert TEACHER.of_labeler(job).arguments["long_phrases"] is True
    assert TEACHER.of_labeler(job).digest != TEACHER.of_labeler(plain).digest
    with pytest.raises(ConfigError, match="phrases.given: the phrase finder .* takes no spans"):
        FACTORIES.of_finder(job)


@pytest.mark.parametrize(
    ("phrases", "section", "words"),
    [
        ({"given": ["dog"]}, {"format": "webdataset"}, "phrases.given .* needs input.format: folder"),
        ({"given": ["dog"]}, {"captions": "t.csv"}, "input.captions is 't.csv'"),
        ({"given": ["dog"], "chunker": "ngrams"}, {}, "chunker is ngrams.*leave these three out"),
        ({"given": ["dog"], "expressions": True}, {}, "expressions is True"),
        ({"given": ["dog"], "language": "skip"}, {}, "language is skip"),
        ({"given": ["dog", " dog "]}, {}, "'dog' occurs twice"),
        ({"given": ["dog", "?"]}, {}, "phrase 2 is .*a letter or digit"),
        ({"given": ["a\nb"]}, {}, "control characters"),
        ({"given": [f"w{n}" for n in range(257)]}, {}, "257 phrases .*at most 256"),
        ({"given": ["x" * 2_001]}, {}, "2001 characters"),
        ({"chunker": "given"}, {}, "needs the spans of the input"),
        ({}, {"phrases": ["dog"]}, "write the phrases as phrases.given"),
    ],
)
def test_given_phrases_that_do_not_fit_are_refused(
    tmp_path: Path, phrases: dict[str, Any], section: dict[str, Any], words: str
) -> None:
    values = job_of(tmp_path, ["x"]).model_dump()
    values["input"] |= {"format": "folder", **section}
    with pytest.raises(ValueError, match=words):
        JobConfig.model_validate({**values, "phrases": phrases})


def test_phrases_without_a_list_keep_their_digest_and_a_list_fills_in_the_rest() -> None:
    assert "given" not in PhraseSettings().model_dump() and "given" not in PhraseSettings().identity()
    settings = PhraseSettings(given=["dog"])
    assert (settings.chunker, settings.language) == ("given", "off")
    assert PhraseSettings.model_validate(settings.model_dump()) == settings


# ---- the command line, and hostile files


def test_a_folder_is_labeled_planned_and_compiled_from_the_command_line(
    tmp_path: Path,
    web: Path,
    glip_folder: Path,  # noqa: F811
) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(
        f"input: {{format: folder, urls: [{web}]}}\n"
        "phrases: {given: [red square, star]}\n"
        f"teacher: {{kind: glip, model: {glip_folder}, device: cpu}}\n"
        f"output: {{url: {tmp_path}/out}}\n"
        "run: {executor: local, batch_size: 4}\n"
    )

    def call(*words: object) -> Any:
        result = CliRunner().invoke(build_app(), [*map(str, words), "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    assert call("plan", job)["totals"]["shards_unread"] == 2
    assert call("label", job)["samples"]["labelled"] == 32
    assert not call("plan", job)["has_work"]
    (tmp_path / "policy.yaml").write_text("min_score: 0.1\n")
    assert call("compile", tmp_path / "out", tmp_path / "policy.yaml", "--to", tmp_path / "view")
    assert call("verify", tmp_path / "out")["samples"]["in"] == 32
    assert {one["text"] for row in rows_of(f"{tmp_path}/out") for one in row["phrases"]} == {
        "red square",
        "star",
    }


@pytest.mark.filterwarnings("ignore")  # of decoders; the table was made in a process that only prints them
def test_hostile_image_files_end_as_they_do_in_a_tar(tmp_path: Path, shared_data: Path) -> None:
    table = Path(__file__).parents[1] / "reading" / "outcomes.csv"
    with open(table, newline="", encoding="utf-8") as file:
        expected = {row["file"]: row["outcome"] for row in csv.DictReader(file)}
    names: dict[str, str] = {}
    folder = tmp_path / "nasty"
    folder.mkdir()
    for number, path in enumerate(sorted(name for name in expected if name.startswith("nasty/images/"))):
        key = f"{number:05d}.jpg"
        names[key] = path
        (folder / key).write_bytes((shared_data / path).read_bytes())
        (folder / f"{number:05d}.txt").write_bytes(b"a red patch")

    summary = run(folder_job(tmp_path, folder, run={"executor": "local", "batch_size": 1}), factories=CALM)

    codes = codes_of(summary["output"])
    found = {names[key]: f"1 {codes.get(key, 'kept')}" for key in names}
    assert len(names) > 200 and found == {path: expected[path] for path in found}
    assert Counter(found.values())["1 kept"] == summary["samples"]["labelled"] + summary["samples"]["empty"]
    assert verify(summary["output"])["samples"]["in"] == len(names)
