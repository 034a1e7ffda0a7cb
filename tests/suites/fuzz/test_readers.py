"""Readers under mutated inputs: short here, long under `-m slow`, and every input that once broke a promise."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from tests.suites.fuzz.targets import CORPUS, TARGETS, findings

SHORT = {"tar": 150, "parquet": 100, "image": 400, "json": 500, "caption": 500, "url": 500}
LONG_FACTOR = 60


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_keeps_its_promises_under_mutated_inputs(name: str) -> None:
    broken, accepted = findings(name, SHORT[name])

    assert broken == {}
    assert 0 < accepted < SHORT[name], "mutations that change nothing, or leave nothing whole, test nothing"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_keeps_its_promises_for_long(name: str) -> None:
    broken, _ = findings(name, LONG_FACTOR * SHORT[name], first=1_000_000)

    assert broken == {}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.b64")), ids=lambda path: path.stem)
def test_what_once_broke_a_promise_no_longer_does(path: Path) -> None:
    """Check the corpus: files are base64, named `<target>-<what>.b64`."""
    TARGETS[path.stem.split("-")[0]].check(base64.b64decode(path.read_text()))


PLANTED = {
    "tar": ("engine.reading.formats.tar._Scanner._check_rest_is_zero", lambda scan: None),
    "json": ("engine.reading.strict_json._depth", lambda text: len(text) // (len(text) - 90)),
    "caption": ("engine.reading.captions._CONTROL", re.compile("[a-e]+")),
    "url": ("engine.storage.filesystems.PROTOCOLS", ("s3", "gs", "memory", "http")),
    "image": ("engine.reading.images._stored_size", lambda image: (16, 16)),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_found(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(*PLANTED[name])

    assert findings(name, SHORT[name])[0]
