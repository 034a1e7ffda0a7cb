"""Answers that are kept: the first one counts, and an end of the run loses none."""

import json
import re
import threading

import pytest

from schemas.errors import RuntimeEnvironmentError, SampleRejectedError
from tests.mutations import Mutation
from tests.teacher.vlm.chat_server import Reply
from tests.teacher.vlm.samples import MemoryStore, label_one, picture, sample_of

TEXTS = ("a red box", "the green box", "blue things")


def test_the_first_answer_is_kept_and_counts_again(build, server, tmp_path):
    store, changed = MemoryStore(), '{"boxes": []}'
    first, second = build(), build(base_url=server.url.replace("127.0.0.1", "localhost"))
    for labeler in (first, second):
        labeler.keep_answers(store)

    regions = label_one(first, *TEXTS)
    server.respond = lambda request: Reply(changed)

    assert label_one(second, *TEXTS) == regions and len(server.received) == 1
    (path,) = store.objects
    record = json.loads(store.objects[path])
    assert re.fullmatch(r"answers/([0-9a-f]{2})/\1[0-9a-f]{62}\.json", path) and "boxes" in record["text"]
    third = build(revision="2026-02")
    third.keep_answers(store)
    assert label_one(third, *TEXTS) == [] and len(store.objects) == 2
    folder = build(answers=str(tmp_path))
    folder.keep_answers(store)
    assert label_one(folder, *TEXTS) == [] == label_one(build(answers=str(tmp_path)), *TEXTS)
    assert len(server.received) == 3 and len(list(tmp_path.rglob("*.json"))) == 1


def test_of_two_answers_at_one_time_the_stored_one_counts(build, server):
    store = MemoryStore()
    labeler = build()
    labeler.keep_answers(store)

    def answer_after_another(request):
        digest_path = next(iter(paths), None)
        if digest_path is None:
            return Reply('{"boxes": []}')
        record = {**json.loads(paths[digest_path]), "text": server.see(request).text}
        store.objects[digest_path] = json.dumps(record).encode()
        return Reply('{"boxes": []}')

    paths: dict[str, bytes] = {}
    server.respond = answer_after_another
    assert label_one(labeler, "a red box") == []
    paths.update(store.objects)
    store.objects.clear()
    assert len(label_one(labeler, "a red box")) == 1


def test_a_bad_answer_is_kept_too_and_damaged_ones_end_the_run(build, server):
    store = MemoryStore()
    server.respond = lambda request: Reply("no json, a lone \ud800 surrogate")
    for _ in range(2):
        labeler = build()
        labeler.keep_answers(store)
        with pytest.raises(SampleRejectedError, match="TEACHER_ANSWER"):
            label_one(labeler, "a red box")
    assert len(server.received) == 1

    for damage in (b"{", b"[]", b'{"request": "another", "text": "", "finish_reason": null}'):
        store.objects = dict.fromkeys(store.objects, damage)
        with pytest.raises(RuntimeEnvironmentError, match=r"answers/.*\.json .* is damaged .*delete it"):
            label_one(labeler, "a red box")


def test_an_error_that_ends_the_run_stops_the_other_requests_but_keeps_answers(build, server):
    store, seen = MemoryStore(), threading.Barrier(2, timeout=5)

    def respond(request):
        if "stop" in request.texts[0]:
            seen.wait()
            return Reply(status=404, raw=b"gone")
        if "open" in request.texts[0]:
            seen.wait()
            return Reply('{"boxes": []}', delay_s=0.3)
        return Reply(status=503, raw=b"", headers={"Retry-After": "100"})

    server.respond = respond
    labeler = build(batch_size=8, concurrency=2)
    labeler.keep_answers(store)
    texts = ["open", "stop", *(f"later {n}" for n in range(6))]

    with pytest.raises(RuntimeEnvironmentError, match="HTTP 404: gone"):
        labeler.label([labeler.prepare(sample_of(text), picture()) for text in texts])
    assert len(store.objects) == 1 and len(server.received) <= 4


_LABELER, _STORED = "teacher/vlm/labeler.py", "teacher/vlm/stored_answers.py"
MUTATIONS = (
    Mutation(
        _LABELER, "                self.stop.set()\n", "                pass\n", "test_an_error_that_ends"
    ),
    Mutation(_LABELER, "if self.settings.answers is None:", "if True:", "test_the_first_answer"),
    Mutation(_LABELER, "if kept is not None:", "if False:", "test_the_first_answer"),
    Mutation("teacher/vlm/questions.py", '"revision": settings.revision, ', "", "test_the_first_answer"),
    Mutation(_STORED, 'if record["request"] != digest:', "if False:", "test_a_bad_answer_is_kept"),
    Mutation(_STORED, "return self.find(digest) or completion", "return completion", "test_of_two_answers"),
)
