"""Progress records of a run, and the status that is made of them."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.ledger.snapshots.snapshots import latest_snapshot
from engine.reading.shard_cache import ShardStat
from engine.settings import RunSettings
from engine.storage.store import open_store
from engine.task import Failure, Outcome, PoolState, Retry, Task
from pipelines.cli import build_app
from pipelines.label.prices import PriceSettings
from pipelines.label.progress.record import ProgressRecord, load_latest_progress, make_run_name
from pipelines.label.progress.reporter import RunProgress, write_progress
from pipelines.label.progress.status import GIVE_UP_S, read_status, watch_status
from pipelines.label.run import label
from schemas.ledger import DataFile, SampleCounts, ShardFacts, SnapshotEntry
from tests.engine.small_teacher import FACTORIES
from tests.engine.worlds import job_of, plain_captions, write_shard


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class PlacedPool:
    """Two of three actors are placed; nothing else is asked of it."""

    def state(self) -> PoolState:
        return PoolState(wanted=3, placed=2, deaths=1, preempted=4)


TASK = Task(shard=ShardStat("s3://b/0.tar", 1, "v"))
FILE = DataFile(path="data/x", size_bytes=1, sha256="0", rows=10)


def labeled(samples: int, not_selected: int = 0) -> Outcome:
    rejected = {"NOT_SELECTED": not_selected} if not_selected else {}
    counts = SampleCounts(samples_in=samples + not_selected, labelled=samples, empty=0, rejected=rejected)
    entry = SnapshotEntry(
        unit="u",
        fingerprint="f",
        shard="s",
        counts=counts,
        regions=0,
        evidence=FILE,
        rejections=None,
        rows_digest="d",
    )
    return Outcome(task=TASK, entry=entry, busy_s=2.0)


def read(samples: int) -> Outcome:
    return Outcome(
        task=TASK, facts=ShardFacts(url="u", size_bytes=1, version="v", sha256="0", samples=samples)
    )


def failed(code: str, detail: str, retry: Retry = Retry.CHARGED) -> Outcome:
    return Outcome(task=TASK, failure=Failure(code=code, detail=detail, retry=retry))


def progress_of(clock: Clock, **settings: object) -> RunProgress:
    run = RunSettings(gpus_per_actor=0.5, cpus_per_actor=2)
    made = RunProgress("run-1", "sha256:j", "sha256:p", run, unit_samples=10, clock=clock, **settings)
    made.begin(planned=4, done=1, unread=2)
    made.attach_pool(PlacedPool())
    return made


def test_rates_are_of_the_last_minute_and_the_last_ten() -> None:
    clock = Clock()
    watched = progress_of(clock)
    for _ in range(20):  # 20 minutes at one sample a second, in which the first ten no longer count
        clock.now += 60
        watched.on_settle(labeled(60))
    clock.now += 30
    watched.on_settle(labeled(300))
    clock.now += 30

    said = watched.record("running")

    assert said.samples_per_s["1m"] == pytest.approx(300 / 60)
    assert said.samples_per_s["10m"] == pytest.approx((9 * 60 + 300) / 600)
    assert said.samples_here == 1500 and said.busy_s == 42.0


def test_a_young_run_counts_from_its_first_second_of_work_and_reports_no_rate_before() -> None:
    clock = Clock()
    watched = progress_of(clock)
    assert watched.record("starting").samples_per_s == {"1m": None, "10m": None}
    assert watched.record("starting").left_s is None

    clock.now += 5
    watched.on_settle(labeled(10, not_selected=90))

    assert watched.record("running").samples_per_s == {"1m": 2.0, "10m": 2.0}


def test_time_left_counts_unread_shards_as_the_mean_of_the_read_ones() -> None:
    clock = Clock()
    watched = progress_of(clock)
    watched.on_settle(read(samples=25))  # three units of ten; one shard is still unread
    clock.now += 10
    watched.on_settle(labeled(10))

    said = watched.record("running")

    assert (said.units_planned, said.units_done) == (6, 2)
    assert said.left_s == pytest.approx((6 - 2 + 2) * 10)


def test_failures_are_reported_by_code_with_its_first_line_and_without_secrets() -> None:
    watched = progress_of(Clock())
    watched.on_retry(failed("STORE_ERROR", "503"))
    watched.on_retry(failed("STORE_ERROR", "503", retry=Retry.FREE))
    watched.on_settle(failed("STORE_ERROR", "s3://me:hunter2@bucket is slow\nTraceback: much"))
    watched.on_settle(failed("STORE_ERROR", "again"))

    said = watched.record("running")

    assert said.failures == {"STORE_ERROR": {"count": 2, "first": "s3://***@bucket is slow"}}
    assert (said.retries, said.uncharged) == ({"STORE_ERROR": 2}, {"STORE_ERROR": 1})
    assert (said.actors_placed, said.actors_wanted, said.worker_deaths, said.preempted) == (2, 3, 1, 4)


def test_placed_actors_cost_money_from_the_moment_the_pool_is_there() -> None:
    clock = Clock()
    prices = PriceSettings(gpu_hour={"t4": 1.5}, cpu_hour=0.25)
    watched = progress_of(clock, prices=prices)
    clock.now += 1800

    said = watched.record("running")

    assert (said.gpu_hours, said.cpu_hours) == pytest.approx((0.5, 2.0))
    assert said.cost is not None and said.cost["total"] == pytest.approx(1.25)


def states(
    store, watched: RunProgress, error: BaseException | None, stopping: bool = False
) -> ProgressRecord:
    with suppress(KeyboardInterrupt, ValueError), write_progress(watched, store, lambda: stopping):
        assert load_latest_progress(store).state == "starting"
        if error:
            raise error
    return load_latest_progress(store)


def test_the_last_record_names_how_the_run_ended(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    ends = {
        "finished": (None, False),
        "interrupted": (KeyboardInterrupt(), False),
        "failed": (ValueError("no\nroom"), False),
    }

    for state, (error, stopping) in ends.items():
        assert states(store, progress_of(Clock()), error, stopping).state == state
    assert load_latest_progress(store).error == "ValueError: no"
    assert states(store, progress_of(Clock()), None, stopping=True).state == "interrupted"


def test_a_run_beats_while_nothing_ends(tmp_path: Path) -> None:
    store, beats = open_store(str(tmp_path)), threading.Event()
    watched = progress_of(Clock())
    store.put = lambda path, data: beats.set() if b'"running"' in data else None  # type: ignore[method-assign]

    with write_progress(watched, store, lambda: False, every_s=0.01):
        assert beats.wait(30)


def test_a_store_that_refuses_progress_does_not_stop_the_run(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))

    def refuse(path: str, data: bytes) -> None:
        raise OSError("no space left")

    store.put = refuse  # type: ignore[method-assign]
    with write_progress(progress_of(Clock()), store, lambda: False):
        pass
    assert load_latest_progress(store) is None


@pytest.fixture
def output(tmp_path: Path) -> str:
    label(job_of(tmp_path, [write_shard(tmp_path / "a.tar", plain_captions(20))]), factories=FACTORIES)
    return str(tmp_path / "out")


def test_a_run_leaves_its_last_progress_record_in_the_output(output: str) -> None:
    found = read_status(output)

    said = found["progress"]
    assert (said["state"], said["units_done"], said["units_planned"]) == ("finished", 3, 3)
    assert said["samples_here"] == 20 and said["busy_s"] > 0 and not said["silent"]
    assert found["units"]["committed"] == 3 and said["settings"]["executor"] == "local"


def rewrite(output: str, **changes: object) -> None:
    store = open_store(output)
    said = load_latest_progress(store)
    store.put(f"progress/{said.run}.json", said.model_copy(update=changes).model_dump_json().encode())


def test_a_dead_driver_does_not_look_alive(output: str) -> None:
    rewrite(output, state="running")
    heard = datetime.fromisoformat(load_latest_progress(open_store(output)).written_at)

    def at(seconds: float):
        return read_status(output, now=lambda: heard + timedelta(seconds=seconds))["progress"]

    assert (at(20)["silent"], at(20)["heard_s_ago"]) == (False, 20)
    assert at(31)["silent"]
    assert at(-1000)["heard_s_ago"] == 0  # another machine's clock


def test_watching_ends_with_the_run(output: str) -> None:
    rewrite(output, state="running", written_at=datetime.now(UTC).isoformat())
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            rewrite(output, state="finished")

    looks = list(watch_status(output, 7, sleep))

    assert [found["progress"]["state"] for found in looks] == ["running"] * 3 + ["finished"]
    assert slept == [7, 7, 7]


def test_watching_ends_when_the_driver_was_silent_for_long(output: str) -> None:
    rewrite(output, state="running")
    heard = datetime.fromisoformat(load_latest_progress(open_store(output)).written_at)
    times = iter([heard, heard + timedelta(seconds=GIVE_UP_S + 1)])

    looks = list(watch_status(output, 7, lambda seconds: None, lambda: next(times)))

    assert [found["progress"]["silent"] for found in looks] == [False, True]


def groundswell(*words: str):
    return CliRunner().invoke(build_app(), list(words))


def test_status_shows_snapshot_and_run_and_streams_json_lines(output: str) -> None:
    shown, watched = groundswell("status", output), groundswell("status", output, "--watch")
    lines = groundswell("status", output, "--watch", "--json").stdout.splitlines()

    assert "finished, last report" in shown.stdout and "3/3 units, 20 samples" in shown.stdout
    assert watched.exit_code == 0 and "3/3 units committed" in watched.stderr
    assert watched.stdout.splitlines()[:3] == shown.stdout.splitlines()[:3]
    assert [json.loads(line)["progress"]["state"] for line in lines] == ["finished"]


def test_on_a_terminal_the_screen_is_redrawn_and_the_last_look_stays(
    output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.cli.watch.is_live_terminal", lambda: True)

    watched = groundswell("status", output, "--watch")

    assert "3/3 units committed" not in watched.stderr and "finished, last report" in watched.stdout


def test_a_watch_of_a_silent_run_reports_it_and_exits_3_on_pending_units(tmp_path: Path, output: str) -> None:
    write_shard(tmp_path / "b.tar", plain_captions(3))
    (tmp_path / "teacher.json").write_text('{"channel_gain": 2}')
    rewrite(output, state="running", written_at="2020-01-01T00:00:00+00:00")
    store = open_store(output)
    newest = latest_snapshot(store)
    pending = newest.model_copy(update={"version": newest.version + 1, "planned": newest.planned + 1})
    store.put(f"snapshots/{pending.version:020d}.json", pending.model_dump_json().encode())

    result = groundswell("status", output, "--watch", "--no-progress")

    assert result.exit_code == 3
    assert (
        "its driver may be dead" in result.stderr
        and "in its last report; the driver may be dead" in result.stdout
    )
    assert "\x1b[" not in result.output


def test_names_of_runs_sort_as_the_runs_began_within_a_second_too() -> None:
    names = [make_run_name() for _ in range(50)]

    assert [name.split("-")[0] for name in sorted(names)] == [name.split("-")[0] for name in names]
    assert len({name.split("-")[0] for name in names}) > 25
