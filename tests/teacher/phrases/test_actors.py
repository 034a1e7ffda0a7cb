"""Phrases found on Ray actors: the same phrases in the same order, even if actors die."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.executors.ray_phrases import find_phrases_in_order
from engine.task import Factory
from pipelines.cli import build_app
from schemas.errors import RuntimeEnvironmentError
from schemas.labeler import FoundPhrases

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


class DeadlyFinder:
    """Find nothing. A caption `die FILE` ends the process if it can delete the file, `die` always."""

    digest = "sha256:deadly"

    def find(self, captions: Sequence[str]) -> list[FoundPhrases]:
        for caption in captions:
            word, _, path = caption.partition(" ")
            if word == "die" and (not path or Path(path).exists()):
                if path:
                    Path(path).unlink()
                os._exit(9)
        return [FoundPhrases(()) for _ in captions]


def deadly() -> DeadlyFinder:
    return DeadlyFinder()


DEADLY = Factory(factory="tests.teacher.phrases.test_actors:deadly", digest=DeadlyFinder.digest)


def test_a_file_gives_the_same_lines_with_actors_as_with_one_process(tmp_path: Path) -> None:
    lines = [f"a photo of a dog and {n} cats" if n % 3 else "" for n in range(2500)]
    (tmp_path / "captions.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = ["phrases", "--file", str(tmp_path / "captions.txt"), "--json", "--pipeline", "lexicon"]

    alone, together = (CliRunner().invoke(build_app(), [*words, "--actors", n]) for n in ("0", "2"))

    assert alone.exit_code == together.exit_code == 0, together.stderr
    assert alone.stdout == together.stdout and len(alone.stdout.split("\n")) == 2501


def test_an_actor_that_dies_costs_its_chunk_one_more_try(tmp_path: Path) -> None:
    (tmp_path / "once").touch()
    chunks = [["a"], [f"die {tmp_path}/once", "b"], ["c"], ["d", "e"], ["f"]]

    answers = list(find_phrases_in_order(DEADLY, chunks, actors=1, cpus_per_actor=0.5))

    assert [chunk for chunk, _ in answers] == chunks
    assert [len(found) for _, found in answers] == [1, 2, 1, 2, 1]


def test_a_chunk_that_kills_two_actors_ends_the_work_with_its_captions_named() -> None:
    with pytest.raises(RuntimeEnvironmentError, match="captions 2 to 3: 2 phrase actors died"):
        list(find_phrases_in_order(DEADLY, [["a"], ["b", "die"]], actors=2, cpus_per_actor=0.5))


def test_no_more_chunks_are_drawn_than_are_under_way() -> None:
    drawn: list[int] = []

    def chunks() -> Iterator[list[str]]:
        for number in range(50):
            drawn.append(number)
            yield ["a"]

    answers = find_phrases_in_order(DEADLY, chunks(), actors=1, cpus_per_actor=0.5)
    next(answers)

    assert len(drawn) <= 2
    answers.close()  # type: ignore[attr-defined]


def test_actors_without_a_place_are_told_with_the_arithmetic() -> None:
    asked = find_phrases_in_order(DEADLY, [["a"]], actors=1, cpus_per_actor=1000, placement_timeout_s=0.5)

    with pytest.raises(RuntimeEnvironmentError, match="0 of 1 phrase actors started.* needs 1000 CPU"):
        next(asked)
