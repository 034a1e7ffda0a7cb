"""The review page's server: blind, guarded, and a verdict is on disk before it is acknowledged."""

import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from io import BytesIO
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from PIL import Image
from starlette.testclient import TestClient

from pipelines.audit.app import Review, build_app, serve
from pipelines.audit.sample import write_sample
from schemas.errors import ConfigError, RuntimeEnvironmentError

PORT, TOKEN = 8765, "the-session-token"
GOOD = {"x-groundswell-token": TOKEN}
API = ["/api/session", "/api/items/0", "/api/images/0"]


@pytest.fixture
def client(sample, store):
    app = build_app(Review(sample, store, "ann"), token=TOKEN, port=PORT)
    with TestClient(app, base_url=f"http://127.0.0.1:{PORT}") as client:
        yield client


def give(client, position=0, verdict="accept", event_id="e1", **headers):
    message = {"event_id": event_id, "position": position, "verdict": verdict}
    return client.post("/api/verdicts", json=message, headers={**GOOD, **headers})


def loose_file(sample, number):
    """Position and path of one of the pictures that lie outside the shard."""
    loose = [(at, Path(one.pixels.url)) for at, one in enumerate(sample.regions) if one.pixels.offset is None]
    return loose[number]


def test_an_item_is_shown_blind_and_its_caption_comes_whole_in_three_pieces(client, sample):
    for position, region in enumerate(sample.regions):
        answer = client.get(f"/api/items/{position}", headers=GOOD)
        shown = answer.json()

        assert set(shown) == {"width", "height", "box", "before", "phrase", "after"}
        assert shown["before"] + shown["phrase"] + shown["after"] == region.caption
        assert shown["phrase"] == region.text
        assert "0.731" not in answer.text and "secret" not in answer.text


def test_no_answer_but_the_reviewers_own_names_score_stratum_or_file(client, store, sample):
    store.record("other", sample.regions[1].item, "bob", "reject")
    give(client)

    session = client.get("/api/session", headers=GOOD)
    assert session.json() == {
        "total": 6,
        "reviewer": "ann",
        "given": [{"position": 0, "verdict": "accept", "event_id": "e1"}],
    }


def test_the_image_is_upright_and_free_of_metadata(client, sample):
    # the one that conftest stores turned
    position = next(at for at, one in enumerate(sample.regions) if one.index == 0)
    with Image.open(sample.regions[position].pixels.url) as stored:
        assert stored.size == (90, 120) and stored.getexif()
    answer = client.get(f"/api/images/{position}", headers=GOOD)

    with Image.open(BytesIO(answer.content)) as image:
        assert image.size == (120, 90) and not image.getexif()
    assert answer.headers["content-type"] == "image/png" and b"taken" not in answer.content


def test_a_replaced_or_missing_image_is_refused_with_the_reason(client, sample):
    (first, path), (second, gone) = loose_file(sample, 0), loose_file(sample, 1)
    Image.new("RGB", (120, 90)).save(path)
    replaced = client.get(f"/api/images/{first}", headers=GOOD)
    gone.unlink()

    assert replaced.status_code == 409 and "has changed since it was labeled" in replaced.json()["error"]
    assert client.get(f"/api/images/{second}", headers=GOOD).status_code == 404


def test_nothing_is_accepted_or_rejected_that_cannot_be_shown(client, sample, store):
    (changed, path), (missing, gone) = loose_file(sample, 0), loose_file(sample, 1)
    Image.new("RGB", (120, 90)).save(path)
    gone.unlink()

    for position, status in ((changed, 409), (missing, 404)):
        for verdict in ("accept", "reject"):
            refused = give(client, position, verdict, f"{position}-{verdict}")
            assert refused.status_code == status and "cannot be shown" in refused.json()["error"]
        assert give(client, position, "skip", f"{position}-skip").status_code == 201
    assert [one.verdict for one in store.list_verdicts("ann")] == ["skip", "skip"]


@pytest.mark.parametrize("shown", [1, None])
def test_a_verdict_on_another_item_than_the_one_on_the_screen_is_refused(client, store, shown):
    message = {"event_id": "e1", "position": 0, "verdict": "accept", "shown": shown}
    refused = client.post("/api/verdicts", json=message, headers=GOOD)

    assert refused.status_code == 409 and "item 0" in refused.json()["error"]
    assert store.list_verdicts("ann") == []
    assert client.post("/api/verdicts", json={**message, "shown": 0}, headers=GOOD).status_code == 201
    skipped = {"event_id": "e2", "position": 1, "verdict": "skip", "shown": None}
    assert client.post("/api/verdicts", json=skipped, headers=GOOD).status_code == 201


def test_a_verdict_is_on_disk_when_it_is_acknowledged_and_counts_once(client, tmp_path, sample):
    assert give(client).status_code == give(client).status_code == 201
    with closing(sqlite3.connect(tmp_path / "verdicts.db")) as db:
        rows = db.execute("SELECT item, reviewer, kind FROM events").fetchall()

    assert rows == [(sample.regions[0].item, "ann", "accept")]


def test_a_second_tab_is_told_of_the_standing_verdict_and_undo_frees_it(client):
    give(client)
    refused = give(client, verdict="reject", event_id="e2")
    undone = client.post("/api/undo", json={"event_id": "u1", "undoes": "e1"}, headers=GOOD)

    assert refused.status_code == 409 and "'accept'" in refused.json()["error"]
    assert (undone.status_code, undone.json()) == (201, {"position": 0})
    assert give(client, verdict="reject", event_id="e3").status_code == 201


def test_a_locked_database_is_answered_503_and_the_verdict_can_be_sent_again(client, tmp_path, monkeypatch):
    connect = sqlite3.connect
    with closing(connect(tmp_path / "verdicts.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(sqlite3, "connect", lambda path, **how: connect(path, **{**how, "timeout": 0.05}))
        refused = give(client)
        holder.execute("ROLLBACK")

    assert refused.status_code == 503 and "try again" in refused.json()["error"]
    assert give(client).status_code == 201


def test_nothing_is_had_without_the_token(client):
    for headers in ({}, {"x-groundswell-token": "wrong"}, {"authorization": f"Bearer {TOKEN}"}):
        for path in API:
            assert client.get(path, headers=headers).status_code == 401
        for path in ("/api/verdicts", "/api/undo"):
            assert client.post(path, json={}, headers=headers).status_code == 401
    assert [client.get(path, headers=GOOD).status_code for path in API] == [200, 200, 200]


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": f"127.0.0.1.evil.example:{PORT}"},
        {"host": "127.0.0.1:1"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_hosts_or_sites_request_is_refused_even_with_the_token(client, headers):
    assert client.get("/api/session", headers={**GOOD, **headers}).status_code == 403
    assert client.get("/", headers=headers).status_code == 403
    assert give(client, **headers).status_code == 403


def test_only_small_json_messages_of_the_right_form_are_read(client):
    form = client.post("/api/verdicts", data={"event_id": "e1"}, headers=GOOD)
    plain = client.post(
        "/api/verdicts", content=b"{}", headers={**GOOD, "content-type": "application/json; charset=utf-8"}
    )
    large = client.post("/api/verdicts", json={"event_id": "e" * 5000}, headers=GOOD)
    chunked = client.post(
        "/api/verdicts", content=iter([b"{}"]), headers={**GOOD, "content-type": "application/json"}
    )
    wrong = give(client, verdict="perhaps")
    more = client.post(
        "/api/verdicts",
        json={"event_id": "e", "position": 0, "verdict": "accept", "reviewer": "bob"},
        headers=GOOD,
    )

    assert [answer.status_code for answer in (form, plain, large, chunked, wrong, more)] == [
        415, 415, 413, 413, 422, 422,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "path", ["/api/items/6", "/api/items/-1", "/api/images/99", "/api/items/../../etc/passwd"]
)
def test_a_place_outside_the_sample_is_not_found(client, path):
    assert client.get(path, headers=GOOD).status_code == 404


def test_every_answer_forbids_foreign_code(client):
    for answer in (
        client.get("/"),
        client.get("/page.js"),
        client.get("/api/session"),
        client.get("/nothing"),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


def test_the_page_loads_nothing_from_elsewhere_and_sets_text_only():
    from pipelines.audit.app import STATIC

    everything = "".join(path.read_text(encoding="utf-8") for path in sorted(STATIC.iterdir()))
    assert "http" not in everything
    assert not any(
        word in everything for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write")
    )


def test_serving_refuses_a_nameless_reviewer_and_a_taken_port(sample, tmp_path):
    import socket

    write_sample(sample, tmp_path / "sample.json")
    with pytest.raises(ConfigError, match="name"):
        serve(tmp_path / "sample.json", tmp_path / "v.db", reviewer=" ", announce=print)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RuntimeEnvironmentError, match="cannot be used"):
            serve(
                tmp_path / "sample.json",
                tmp_path / "v.db",
                taken.getsockname()[1],
                reviewer="ann",
                announce=print,
            )


def test_a_picture_that_moved_is_shown_with_the_option_that_the_message_names(sample, store, tmp_path):
    position, path = loose_file(sample, 0)
    (tmp_path / "moved").mkdir()
    path.rename(tmp_path / "moved" / path.name)
    write_sample(sample, tmp_path / "sample.json")
    told = Review(sample, store, "ann")
    with TestClient(build_app(told, token=TOKEN, port=PORT), base_url=f"http://127.0.0.1:{PORT}") as client:
        message = client.get(f"/api/images/{position}", headers=GOOD).json()["error"]
    [option] = set(re.findall(r"--[a-z-]+", message))

    words = [sys.executable, "-m", "pipelines.cli", "audit", "serve", str(tmp_path), "--port", "0"]
    words += [option, f"{tmp_path}/={tmp_path}/moved/"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        try:
            address, token = re.search(r"(http\S+)#(\S+)", server.stderr.readline()).groups()
            request = Request(f"{address}api/images/{position}", headers={"x-groundswell-token": token})
            with urlopen(request) as answer, Image.open(BytesIO(answer.read())) as image:
                assert image.size == (120, 90)
        finally:
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=60)
    assert server.returncode == 130
