"""Planted code: every canary sings for the naive reader, none for ours."""

from __future__ import annotations

import pytest

from tests.reading.canaries import CANARIES, heard_in_a_child

AT_LEAST = 14


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    return heard_in_a_child(tmp_path_factory.mktemp("canaries"))


def test_there_are_enough_canaries_and_all_were_let_loose(heard: dict[str, dict]) -> None:
    assert heard.keys() == CANARIES.keys() and len(heard) >= AT_LEAST


@pytest.mark.parametrize("name", CANARIES)
def test_a_canary_sings_for_a_naive_reader_and_is_silent_for_ours(heard: dict[str, dict], name: str) -> None:
    assert heard[name]["naive"], "the canary must sing for a naive reader, or its silence shows nothing"
    assert not heard[name]["ours"], heard[name]["said"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a .pkl member of a tar", "'labelled': 1"),
        ("model.pt as detector", "ConfigError"),
        ("pickled weights in a model folder", "no .safetensors file"),
        ("pickled weights as a training's start", "safetensors"),
        ("a checkpoint to convert", "refused"),
        ("an extension type in a shard", "SHARD_SCHEMA"),
        ("an extension type in a file of evidence", "ConflictError"),
        ("a tag in a job file", "ConfigError"),
        ("PostScript that is called .jpg", "IMG_FORMAT"),
    ],
)
def test_what_a_user_is_told_names_the_reason(heard: dict[str, dict], name: str, words: str) -> None:
    assert words in heard[name]["said"]
