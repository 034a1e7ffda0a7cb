from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.redaction import redact, strip_url_secrets
from engine.task import Abort, Failure

SECRET = "c4n4ry/S3cr3t+Value="


@pytest.mark.parametrize(
    "text",
    [
        f"https://user:{SECRET.replace('/', '')}@host:9000/bucket",
        f"GET http://b.s3.amazonaws.com/k?X-Amz-Expires=60&X-Amz-Signature={SECRET}",
        f"https://acc.blob.core.windows.net/c/b?sv=2024&sig={SECRET}&se=1",
        f"s3://b/k?token={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"{{'Authorization': 'Basic {SECRET}'}}",
        f"aws_secret_access_key = {SECRET}",
        f'"password": "{SECRET}"',
        f"export HF_TOKEN={SECRET}",
    ],
)
def test_secrets_of_every_form_are_taken_out(text: str) -> None:
    assert "c4n4ry" not in redact(text) and "***" in redact(text)


@pytest.mark.parametrize(
    "name", ["AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "RAY_AUTH_TOKEN", "MY_DB_PASSWORD", "X_API_KEY"]
)
def test_a_secret_of_the_environment_is_taken_out_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    said = f"while talking ({SECRET}) to the store"
    assert SECRET in redact(said)

    monkeypatch.setenv(name, SECRET)

    assert redact(said) == "while talking (***) to the store"


def test_of_two_secrets_the_one_that_holds_the_other_leaves_no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "abcdefgh")
    monkeypatch.setenv("B_TOKEN", "abcdefgh-the-rest")

    assert redact("x abcdefgh-the-rest y abcdefgh") == "x *** y ***"


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/web/00000.tar: 12 bytes (etag=abc) when planned",
        "https://www.flickr.com/photo.gne?id=1786425974&size=b",
        "a cluster that was started with a token wants RAY_AUTH_MODE=token",
        "TOKENIZERS_PARALLELISM=false, at byte 512: a sparse member",
        "mail me @ noon: s3://b/a@2x.png",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@given(st.text(max_size=200))
def test_any_text_is_taken_and_twice_is_as_once(text: str) -> None:
    once = strip_url_secrets(text)

    assert strip_url_secrets(once) == once


@pytest.mark.parametrize("unit", ["token=", "?key=&", "a://", "authorization: ", "a.", "x" * 50 + " "])
def test_no_text_takes_long(unit: str) -> None:
    assert isinstance(redact(unit * (400_000 // len(unit))), str)


def test_failures_and_stops_of_workers_are_redacted_when_they_are_made() -> None:
    detail = f"reset by https://u:{SECRET.replace('/', '')}@h/"

    assert "c4n4ry" not in Failure(code="STORE_ERROR", detail=detail).detail
    assert "c4n4ry" not in Abort(error="RuntimeEnvironmentError", message=detail).message


def test_a_log_record_can_be_redacted_as_it_is_formatted(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("x").warning("token=%s", SECRET)

    assert SECRET in caplog.text and SECRET not in redact(caplog.text)
