"""Labeling one unit: every sample becomes a row or a rejection, and an error costs one sample."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.ledger.unit_result import UnitResult
from engine.reading.shards import open_shard
from engine.settings import InputSettings
from engine.worker import label_unit
from engine.worker.errors import TeacherBrokenError
from engine.worker.label_unit import UnitRun, check_teacher
from engine.worker.loading import LoadedTeacher
from schemas.ledger import Unit, unit_name
from schemas.settings import EvidenceSettings
from tests.engine.small_teacher import SmallFinder, SmallLabeler
from tests.engine.worlds import picture, plain_captions, sample_members, tar_bytes, write_shard


def teacher(batch_size: int = 4) -> SmallLabeler:
    return SmallLabeler({}, "sha256:small", batch_size, 0.05)


def run(path: Path, labeler: SmallLabeler | None = None, **settings: object) -> UnitResult:
    shard = open_shard(path, str(path), InputSettings(urls=("x",), **settings).reading())
    unit = Unit(
        name=unit_name(str(path), 0), shard=str(path), input_digest="sha256:x", first=0, count=len(shard)
    )
    unit_run = UnitRun(unit, shard, LoadedTeacher(labeler or teacher(), SmallFinder()), EvidenceSettings())
    unit_run.begin()
    result = unit_run.finish()
    check_teacher(unit, result)
    return result


def rejected_codes(result: UnitResult) -> dict[int, str]:
    return {row["index"]: row["code"] for row in result.rejections}


def test_every_sample_is_a_row_or_a_rejection(tmp_path: Path) -> None:
    members = [
        *sample_members("good", "a red patch"),
        ("noimage.txt", b"a cat"),
        ("nocaption.png", picture()),
        ("empty.png", b""),
        ("empty.txt", b"a cat"),
        ("html.png", b"<html>"),
        ("html.txt", b"a cat"),
        ("badcap.png", picture()),
        ("badcap.txt", b"\xff"),
        ("badjson.png", picture()),
        ("badjson.txt", b"a cat"),
        ("badjson.json", b'{"x": NaN}'),
        ("twice.png", picture()),
        ("twice.txt", b"a cat"),
        ("twice.PNG", picture("blue")),
        ("README", b"hello"),
        *sample_members("silent", "nothing here"),
    ]
    path = tmp_path / "a.tar"
    path.write_bytes(tar_bytes(members))

    result = run(path)

    assert rejected_codes(result) == {
        1: "IMG_MISSING",
        2: "CAP_MISSING",
        3: "IMG_EMPTY",
        4: "IMG_FORMAT",
        5: "CAP_UTF8",
        6: "JSON_BAD",
        7: "DUP_MEMBER",
        8: "IMG_MISSING",
    }
    assert [(row["index"], row["key"], bool(row["regions"])) for row in result.rows] == [
        (0, "good", True),
        (9, "silent", False),
    ]
    assert result.counts().samples_in == 10


def test_boxes_are_where_the_color_is(tmp_path: Path) -> None:
    result = run(write_shard(tmp_path / "a.tar", ["the red patch"]))

    region = result.rows[0]["regions"][0]
    assert [region[name] for name in ("x0", "y0", "x1", "y1")] == [4, 4, 24, 16]


def test_batches_are_full_of_one_bucket_and_blanks_come_last(tmp_path: Path) -> None:
    members = [
        member
        for index, side in enumerate([40, 40, 200, 40, 40, 40, 200])
        for member in ((f"{index}.png", picture(width=side)), (f"{index}.txt", b"a cat"))
    ]
    path = tmp_path / "a.tar"
    path.write_bytes(tar_bytes(members))
    labeler = teacher(4)

    result = run(path, labeler)

    assert labeler.batches == [4, 2, 1]  # the labeler itself checks length and bucket
    assert [row["index"] for row in result.rows] == list(range(7))


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("explode", "TEACHER_ERROR"),
        ("notanumber", "TEACHER_NONFINITE"),
        ("unspeakable", "TEACHER_ERROR"),
        ("unpreparable", "TEACHER_ERROR"),
    ],
)
def test_a_samples_error_costs_that_sample_alone(tmp_path: Path, word: str, code: str) -> None:
    captions = plain_captions(11)
    captions[5] += f" and a {word}"
    clean = run(write_shard(tmp_path / "a.tar", plain_captions(11)))

    result = run(write_shard(tmp_path / "a.tar", captions))

    assert rejected_codes(result) == {5: code}
    assert result.rows == [row for row in clean.rows if row["index"] != 5]


@pytest.mark.parametrize("step", ["prepare", "label", "decode_sample_image", "evidence_regions"])
@pytest.mark.parametrize("error", [RecursionError("too deep"), ValueError("odd"), StopIteration()])
def test_an_error_of_any_step_costs_one_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception
) -> None:
    fail_at_third(monkeypatch, step, error)

    result = run(write_shard(tmp_path / "a.tar", plain_captions(5)), teacher(1))

    assert list(rejected_codes(result)) == [2] and len(result.rows) == 4


@pytest.mark.parametrize("step", ["prepare", "label", "decode_sample_image", "evidence_regions"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_what_is_meant_for_the_process_is_not_taken_for_a_samples_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    fail_at_third(monkeypatch, step, error)

    with pytest.raises(type(error)):
        run(write_shard(tmp_path / "a.tar", plain_captions(5)), teacher(1))


@pytest.mark.parametrize("step", ["prepare", "decode_sample_image", "evidence_regions"])
def test_no_memory_is_nobodys_fault_before_a_process_held_the_sample_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    fail_at_third(monkeypatch, step, MemoryError())

    with pytest.raises(MemoryError):
        run(write_shard(tmp_path / "a.tar", plain_captions(5)), teacher(1))


def test_no_memory_for_a_batch_halves_it_as_the_teachers_own_error_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at_third(monkeypatch, "label", MemoryError())
    labeler = teacher(2)

    result = run(write_shard(tmp_path / "a.tar", plain_captions(8)), labeler)

    assert (len(result.rows), labeler.batch_size) == (8, 1)


def fail_at_third(monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException) -> None:
    """Make the third call of a step raise."""
    place = SmallLabeler if step in ("prepare", "label") else label_unit
    real, calls = getattr(place, step), []

    def failing(*args: object) -> object:
        calls.append(args)
        if len(calls) == 3:
            raise error
        return real(*args)

    monkeypatch.setattr(place, step, failing)


def test_mates_and_batch_position_change_nothing(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.tar", plain_captions(9))

    assert run(path, teacher(1)).rows == run(path, teacher(4)).rows == run(path, teacher(16)).rows


def test_running_out_of_memory_shrinks_the_batch_for_good(tmp_path: Path) -> None:
    captions = plain_captions(10)
    captions[1] += " and a hungry dog"
    labeler = teacher(8)

    result = run(write_shard(tmp_path / "a.tar", captions), labeler)

    assert (len(result.rows), labeler.batch_size) == (10, 1)


@pytest.mark.parametrize("word", ["explode", "notanumber", "unspeakable", "unpreparable"])
def test_a_teacher_or_finder_that_fails_on_everything_is_not_blamed_on_the_samples(
    tmp_path: Path, word: str
) -> None:
    path = write_shard(tmp_path / "a.tar", [f"{caption} {word}" for caption in plain_captions(6)])

    with pytest.raises(TeacherBrokenError, match="all 6 samples failed"):
        run(path)


def test_source_fields_and_kept_fields_reach_the_row(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    fields = {
        "url": "http://x/1",
        "license": "cc-by",
        "sha256": "ab" * 32,
        "original_width": 640,
        "nsfw": 0.25,
    }
    path.write_bytes(tar_bytes(sample_members("a", "a cat", **fields)))

    row = run(path, keep=("nsfw", "absent")).rows[0]

    assert (row["source_url"], row["license"], row["source_sha256"]) == ("http://x/1", "cc-by", "ab" * 32)
    assert (row["original_width"], row["original_height"], row["meta"]) == (640, None, '{"nsfw":0.25}')


def test_the_caption_may_be_in_the_json(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tar_bytes([m for m in sample_members("a", "a cat") if not m[0].endswith("txt")]))

    assert run(path, caption="json:caption").rows[0]["caption"] == "a cat"
    assert rejected_codes(run(path, caption="json:nope")) == {0: "CAP_MISSING"}


def test_a_kept_field_that_is_no_text_rejects_its_sample(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(
        tar_bytes([("a.png", picture()), ("a.txt", b"a cat"), ("a.json", b'{"tag": "\\ud800"}')])
    )

    assert rejected_codes(run(path, keep=("tag",))) == {0: "JSON_BAD"}
    assert rejected_codes(run(path)) == {}
