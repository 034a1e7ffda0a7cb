"""Other captions on the same images: nothing else changes, and no image keeps its own."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.headline.changed_webs import catalogue, colourless, recaption, shuffled
from pipelines.demo.world.lexicon import COLOURS, NOUNS
from pipelines.demo.world.settings import WorldSettings
from pipelines.demo.world.web import write_web
from teacher.phrases.finder import SpacyPhraseFinder
from teacher.settings import PhraseSettings


@given(st.integers(2, 60), st.integers(0, 2**32))
def test_no_caption_stays_where_it_was_and_none_is_lost(size: int, seed: int) -> None:
    captions = [str(number) for number in range(size)]

    moved = shuffled(captions, np.random.default_rng(seed))

    assert sorted(moved) == sorted(captions)
    assert all(a != b for a, b in zip(captions, moved))


def test_colour_words_go_and_articles_follow() -> None:
    told = ["stock photo of an orange circle, a striped red house to the left of a pink hourglass"]

    changed = colourless(told, np.random.default_rng(0))

    assert changed == ["stock photo of a circle, a striped house to the left of an hourglass"]
    assert not set(changed[0].split()) & set(COLOURS)


def test_the_catalogue_asks_for_every_noun_once() -> None:
    (caption,) = catalogue(["a red circle"], np.random.default_rng(0))
    (found,) = SpacyPhraseFinder(PhraseSettings()).find([caption])

    assert sorted(phrase.root for phrase in found.phrases) == sorted(NOUNS)


def members(folder: Path, suffix: str) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(suffix):
                    found[member.name] = tar.extractfile(member).read()  # type: ignore[union-attr]
    return found


def test_images_stay_and_text_json_and_sidecar_agree(tmp_path: Path) -> None:
    settings = WorldSettings(seed=2, web_images=7, web_shard_images=4)
    write_web(tmp_path / "web", tmp_path / "truth" / "web.jsonl", settings)

    count = recaption(tmp_path / "web", tmp_path / "new", shuffled, 2)

    assert count == 7
    assert members(tmp_path / "new", "jpg") == members(tmp_path / "web", "jpg")
    texts, facts = members(tmp_path / "new", "txt"), members(tmp_path / "new", "json")
    assert [json.loads(data)["caption"].encode() for data in facts.values()] == list(texts.values())
    assert sorted(texts.values()) == sorted(members(tmp_path / "web", "txt").values())
