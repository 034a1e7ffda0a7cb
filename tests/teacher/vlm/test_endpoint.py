"""Requests that fail: what is tried again, what rejects a sample, what ends the run, and that the key stays secret."""

import itertools
import logging
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from engine.driver.liveness import Liveness
from engine.settings import RunSettings
from engine.worker.batching import label_in_batches
from schemas.errors import RuntimeEnvironmentError, SampleRejectedError
from teacher.registry import LabelerOptions
from teacher.vlm.labeler import VlmLabeler
from teacher.vlm.pacing import RequestPacer, choose_wait_s, parse_retry_after
from teacher.vlm.settings import VlmSettings
from tests.mutations import Mutation
from tests.teacher.vlm.chat_server import KEY, Reply
from tests.teacher.vlm.samples import MemoryStore, picture, sample_of

FOUND = '{"boxes": [{"phrase": 0, "box": [0, 0, 500, 500]}]}'
VARIABLE = "VLM_TEST_KEY"


@pytest.fixture
def patient(settings, manual_clock):
    """Return a function that makes a labeler whose waits take no time."""
    made = []

    def make(batch_size=4, **changes):
        options = LabelerOptions(batch_size, 0.05)
        made.append(VlmLabeler(VlmSettings.model_validate(settings(**changes)), options, "d", manual_clock))
        return made[-1]

    yield make
    for labeler in made:
        labeler.close()


def ask(labeler, *texts, shade=0):
    """Label one sample alone. Different shades are different requests."""
    image = picture(patches={"red": (10 + shade, 12, 70, 60)})
    return labeler.label([labeler.prepare(sample_of(*(texts or ("a red box",))), image)])[0]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_a_failure_that_may_pass_is_tried_again(patient, server, manual_clock, status):
    server.first = [Reply(status=status, raw=b"later")] * 3

    assert len(ask(patient())) == 1
    waits = [wait_s for wait_s in manual_clock.waits if wait_s > 0]
    assert len(server.received) == 4 and len(waits) == 3


def test_waits_double_up_to_a_limit_and_are_no_shorter_than_the_server_asks():
    for tries, longest in ((1, 1.0), (2, 2.0), (5, 16.0), (9, 30.0)):
        waits = {choose_wait_s(tries, 0) for _ in range(50)}
        assert longest / 2 <= min(waits) < max(waits) <= longest
    assert choose_wait_s(1, 12.0) == 12.0


def test_retry_after_is_honored_as_seconds_and_as_a_date(patient, server, manual_clock):
    server.first = [Reply(status=429, raw=b"{}", headers={"Retry-After": "17"})]

    ask(patient())

    assert max(manual_clock.waits) == 17
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    assert 35 < parse_retry_after(date) <= 40
    assert [parse_retry_after(text) for text in (None, "soon", "nan", "inf", "-4", "", "0.5")] == [
        0, 0, 0, 0, 0, 0, 0.5,
    ]  # fmt: skip


def test_a_wait_that_the_server_asks_for_holds_the_other_requests_too(manual_clock):
    pacer, stop = RequestPacer(None, manual_clock), threading.Event()
    pacer.pause(20)

    pacer.wait_turn(stop)

    assert manual_clock.at == 20


def test_a_pause_holds_a_request_that_already_waits_for_its_turn(manual_clock):
    pacer, stop, turns = RequestPacer(30, manual_clock), threading.Event(), []
    wait = manual_clock.wait

    def wait_while_another_request_is_told_to_pause(seconds, stop):
        if seconds == 2 and turns == [0]:
            pacer.pause(20)
        wait(seconds, stop)

    manual_clock.wait = wait_while_another_request_is_told_to_pause
    for _ in range(3):
        pacer.wait_turn(stop)
        turns.append(manual_clock.at)

    assert turns == [0, 20, 22]


def test_a_rate_limit_spaces_requests_and_saves_up_no_burst(manual_clock):
    pacer, stop, turns = RequestPacer(30, manual_clock), threading.Event(), []
    for idle_s in (0, 0, 0, 60, 0):
        manual_clock.at += idle_s
        pacer.wait_turn(stop)
        turns.append(manual_clock.at)

    assert turns == [0, 2, 4, 64, 66]


def test_the_rate_limit_holds_for_the_requests_of_a_batch(patient, server, manual_clock):
    labeler = patient(batch_size=5, requests_per_minute=3, concurrency=4, timeout_s=999)

    rows = [labeler.prepare(sample_of("a red box", "a blue box"), picture()) for _ in range(5)]
    labeler.label(rows)
    assert len(server.received) == 5 and manual_clock.at >= 4 * 20


def test_a_worker_that_waits_for_the_rate_limit_never_seems_stuck(patient, server, manual_clock):
    """16 samples with 4 requests each take 378 s at 10 requests a minute."""
    labeler = patient(batch_size=16, requests_per_minute=10, max_phrases=16, concurrency=1)
    liveness, steps, quiet = Liveness(RunSettings()), itertools.count(2), []
    liveness.record_heartbeat((1, 0), 0)
    labeler.report_progress(lambda: liveness.record_heartbeat((next(steps), 0), manual_clock.at))

    def answer(request):
        quiet.append(liveness.explain_stuck(manual_clock.at))
        return Reply('{"boxes": []}' if len(server.received) % 2 else "unreadable")

    server.respond = answer
    texts = [f"red box {n}" for n in range(64)]
    with pytest.raises(SampleRejectedError):
        labeler.label([labeler.prepare(sample_of(*texts), picture()) for _ in range(16)])

    assert len(quiet) == 64 and not any(quiet) and manual_clock.at > RunSettings().stuck_after_s


def test_as_many_requests_are_open_as_the_settings_say(build, server):
    server.respond = lambda request: Reply(FOUND, delay_s=0.05)
    labeler = build(concurrency=3)

    labeler.label([labeler.prepare(sample_of("a red box"), picture()) for _ in range(9)])

    assert server.most_open == 3


@pytest.mark.parametrize(
    "reply", [Reply(FOUND, delay_s=1), Reply(FOUND, part_delay_s=0.1)], ids=["silent", "trickling"]
)
def test_a_slow_reply_is_given_up_and_asked_again(build, server, reply):
    server.first = [reply]

    assert len(ask(build(timeout_s=0.3))) == 1 and len(server.received) == 2


def test_a_reply_that_ends_early_is_asked_again(build, server):
    server.first = [Reply(FOUND, headers={"Content-Length": "9999", "Connection": "close"})]

    assert len(ask(build())) == 1 and len(server.received) == 2


def test_a_request_that_fails_to_the_end_costs_its_sample_and_nothing_is_asked_twice(patient, server):
    labeler = patient(retries=2, concurrency=1)
    server.respond = lambda request: Reply(status=500, raw=b"boom") if is_red(request) else Reply(FOUND)
    shades = ["blue", "green", "red", "blue"]
    images = [picture(patches={color: (10, 10, 60 + n, 60)}) for n, color in enumerate(shades)]
    prepared = [labeler.prepare(sample_of("a box"), image) for image in images]

    answers = {answer.position: answer for answer in label_in_batches(labeler, enumerate(prepared))}

    assert [len(answers[n].regions) for n in range(4)] == [1, 1, 0, 1]
    assert answers[2].rejected.code == "TEACHER_ERROR"
    assert answers[2].rejected.detail == "HTTP 500: boom, after 3 tries"
    assert len(server.received) == 3 + 3


def is_red(request):
    return bool((request.image_rgb_u8[30, 30] > (150, 0, 0)).all() and request.image_rgb_u8[30, 30, 1] < 90)


def test_a_request_that_is_refused_costs_its_sample_at_once(patient, server):
    server.respond = lambda request: Reply(status=400, raw=b'{"error": {"message": "context too long"}}')

    with pytest.raises(SampleRejectedError, match="TEACHER_ERROR: .*HTTP 400: context too long"):
        ask(patient())
    assert len(server.received) == 1


def test_an_endpoint_that_fails_for_every_sample_ends_the_run(patient, server):
    server.respond = lambda request: Reply(status=500, raw=b"boom")
    labeler = patient(retries=1, concurrency=2)

    for shade in range(3):
        with pytest.raises(SampleRejectedError):
            ask(labeler, shade=shade)
    with pytest.raises(
        RuntimeEnvironmentError, match="HTTP 500: boom, after 2 tries. Check that the endpoint runs"
    ):
        ask(labeler, shade=3)


def test_a_busy_endpoint_ends_the_run_after_all_tries(patient, server):
    server.respond = lambda request: Reply(status=503, raw=b"")

    with pytest.raises(RuntimeEnvironmentError, match="after 6 tries.*run the same command again"):
        ask(patient())
    assert len(server.received) == 6


def test_a_wait_longer_than_the_run_allows_ends_it_at_once(patient, server):
    server.respond = lambda request: Reply(status=429, raw=b"", headers={"Retry-After": "3600"})

    with pytest.raises(
        RuntimeEnvironmentError, match="asks to wait 3600 s.*lower teacher.requests_per_minute"
    ):
        ask(patient())
    assert len(server.received) == 1


def test_the_wait_for_the_first_turn_takes_no_time_from_the_tries(patient, server, manual_clock):
    labeler = patient(requests_per_minute=0.2)
    ask(labeler)
    server.first = [Reply(status=429, raw=b"later")]

    assert len(ask(labeler, shade=1)) == 1
    assert len(server.received) == 3 and manual_clock.at > 300


def test_an_endpoint_that_is_not_there_ends_the_run(patient, server):
    labeler = patient(base_url="http://127.0.0.1:9/v1")

    with pytest.raises(RuntimeEnvironmentError, match="127.0.0.1:9/v1/chat/completions: no connection"):
        ask(labeler)


@pytest.mark.parametrize(
    ("changes", "reply", "message"),
    [
        ({"model": "other"}, None, "HTTP 404: The model `other` does not exist.*teacher.model 'other'"),
        ({}, Reply(status=307, raw=b"", headers={"Location": "/v2"}), "HTTP 307.*Check teacher.base_url"),
        ({}, Reply(raw=b"<html>Welcome</html>"), "not a chat completion: <html>Welcome.*teacher.base_url"),
        ({}, Reply(status=401, raw=b"who are you"), "HTTP 401: who are you.*into teacher.api_key_env"),
        ({}, Reply(status=402, raw=b"no credit"), "HTTP 402: no credit"),
        ({}, Reply(status=403, raw=b""), "HTTP 403. Put the name"),
    ],
)  # fmt: skip
def test_a_wrong_address_model_or_key_ends_the_run_at_once_with_a_remedy(
    patient, server, changes, reply, message
):
    server.first = [reply] if reply else []

    with pytest.raises(RuntimeEnvironmentError, match=message):
        ask(patient(**changes))
    assert len(server.received) == len([reply] if reply else [])


def test_a_reply_without_end_is_not_read_to_the_end(patient, server):
    server.respond = lambda request: Reply(raw=b"x" * (9 << 20))

    with pytest.raises(SampleRejectedError, match="more than 8 MiB"):
        ask(patient())


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(None), "gave no text"),
        (Reply(raw=b'{"choices": []}'), "gave no text"),
        (Reply(raw=b'{"choices": [{"message": {"content": {"a": 1}}}]}'), "gave no text"),
        (Reply(FOUND[:30], finish_reason="length"), "cut at 2048 tokens; raise teacher.max_tokens"),
    ],
)
def test_an_answer_without_usable_text_rejects_the_sample(build, server, reply, message):
    server.respond = lambda request: reply

    with pytest.raises(SampleRejectedError, match=f"TEACHER_ANSWER: .*{message}"):
        ask(build())


def test_a_message_in_parts_is_joined(build, server):
    parts = '[{"type": "text", "text": "{\\"boxes\\""}, {"type": "text", "text": ": []}"}]'
    server.respond = lambda request: Reply(
        raw=f'{{"choices": [{{"message": {{"content": {parts}}}}}]}}'.encode()
    )

    assert ask(build()) == []


def test_the_key_is_sent_and_appears_in_no_log_error_answer_or_setting(
    build, server, settings, monkeypatch, caplog
):
    monkeypatch.setenv(VARIABLE, f" {KEY}\n")
    server.key, store = KEY, MemoryStore()
    caplog.set_level(logging.DEBUG)
    labeler = build(api_key_env=VARIABLE)
    labeler.keep_answers(store)

    assert len(ask(labeler)) == 1
    server.key = "another"  # the server now repeats the key in its refusal
    with pytest.raises(RuntimeEnvironmentError, match=f"environment variable {VARIABLE}") as error:
        ask(labeler, "a blue box")

    assert "Bearer ***" in str(error.value)
    texts = [caplog.text, str(error.value), repr(labeler.settings), repr(vars(labeler)), str(store.objects)]
    assert not any(KEY in text for text in texts) and len(store.objects) == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [(None, "is not set"), ("  ", "is not set"), (f"{KEY}\n{KEY}", "a line break"), ("clé", "no key")],
)
def test_a_missing_or_broken_key_is_named_by_its_variable_alone(build, monkeypatch, value, message):
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)

    with pytest.raises(RuntimeEnvironmentError, match=message) as error:
        build(api_key_env=VARIABLE)
    assert VARIABLE in str(error.value) and KEY not in str(error.value)


_ENDPOINT, _REPLIES, _PACING = (f"teacher/vlm/{name}.py" for name in ("endpoint", "replies", "pacing"))
MUTATIONS = (
    Mutation(_REPLIES, "{408, 409, 425}", "{425}", "test_a_failure_that_may_pass"),
    Mutation(_REPLIES, "{429, 503}", "{503}", "test_a_wait_longer_than"),
    Mutation(_REPLIES, "status < 400 or status in _OF_SETUP", "status in _OF_SETUP", "test_a_wrong_address"),
    Mutation(_REPLIES, "Fault(Blame.SETUP, f\"the reply", "Fault(Blame.SAMPLE, f\"the reply", "test_a_wrong_address"),
    Mutation(_PACING, "return max(asked_s, ", "return min(99, ", "test_waits_double"),
    Mutation(_PACING, "turn = max(now, self._next_s)", "turn = now", "test_a_rate_limit_spaces"),
    Mutation(_PACING, "max(now, self._next_s)", "max(0, self._next_s)", "test_a_rate_limit_spaces"),
    Mutation(_PACING, "if turn >= self._resume_s or stop.is_set():", "if True:", "test_a_pause_holds"),
    Mutation(_PACING, " if math.isfinite(seconds) else 0.0", "", "test_retry_after_is_honored"),
    Mutation(_ENDPOINT, "self._pacer.wait_turn(stop)", "pass", "test_the_rate_limit_holds"),
    Mutation(_ENDPOINT, "began = self._clock.now_s()", "began = 0.0", "test_the_wait_for_the_first_turn"),
    Mutation(_ENDPOINT, "if self._clock.now_s() > deadline:", "if False:", "test_a_slow_reply"),
    Mutation(_ENDPOINT, "if len(body) > MAX_REPLY_BYTES:", "if False:", "test_a_reply_without_end"),
    Mutation(_ENDPOINT, " or is_late:", ":", "test_a_wait_longer_than"),
    Mutation(_ENDPOINT, "Blame.SERVICE or is_down:", "Blame.SERVICE:", "test_an_endpoint_that_fails"),
    Mutation(_ENDPOINT, "fault.blame is Blame.SERVICE or is_down", "is_down", "test_a_busy_endpoint"),
    Mutation(_ENDPOINT, "                self._failures_in_row = 0\n", "", "test_single_failures_among_successes"),
    Mutation(_ENDPOINT, "self._hide(reply.text)", "reply.text", "test_the_key_is_sent"),
    Mutation(_ENDPOINT, "if not (key.isascii() and key.isprintable()", "if not (True", "test_a_missing_or_broken_key"),
    Mutation("teacher/vlm/labeler.py", "self._progress = progress", "pass", "test_a_worker_that_waits"),
    Mutation("teacher/vlm/labeler.py", "if n not in row.outcomes", "", "test_a_request_that_fails_to_the_end"),
    Mutation("teacher/vlm/labeler.py", "if completion.finish_reason == _CUT:", "if False:", "test_an_answer_without"),
)  # fmt: skip


def test_single_failures_among_successes_never_end_the_run(patient, server):
    labeler = patient(retries=0, concurrency=1)
    for shade in range(6):
        server.first = [Reply(status=500, raw=b"boom")]
        with pytest.raises(SampleRejectedError):
            ask(labeler, shade=shade)
        assert len(ask(labeler, shade=10 + shade)) == 1
