"""`evaluate` on a model with prompts: detections by category names, recall by the gold's own phrases."""

import json

import numpy as np
import pytest
from PIL import Image

from engine.worker.evidence_rows import mark_dropped
from schemas.errors import ConfigError
from schemas.records import Phrase, Pixels, Sample
from student.evaluate.class_prompts import ClassWords, PromptOptions
from student.evaluate.run import evaluate


@pytest.fixture
def world(tmp_path):
    """Write three noise images of two sizes with a box and a phrase each."""
    gold = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 4, "name": "circle"}, {"id": 9, "name": "blue star"}],
    }
    for n in range(3):
        height, width = (96, 96) if n else (96, 128)
        pixels = np.random.default_rng(n).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{n}.png")
        image = {"id": n + 1, "file_name": f"{n}.png", "width": 2 * width, "height": 2 * height}
        gold["images"].append({**image, "caption": "a circle of stock photo"})
        box = {"id": n + 1, "image_id": n + 1, "category_id": 4, "bbox": [0, 0, 60, 60]}
        gold["annotations"].append({**box, "tokens_positive": [[0, 8]]})
    (tmp_path / "gold.json").write_text(json.dumps(gold))
    return tmp_path


def test_a_prompted_model_gets_all_numbers_with_intervals(glip_folder, world):
    seen = []

    report = evaluate(
        glip_folder, world / "gold.json", world, merged=True, bootstrap=20, batch_size=2,
        groups={"head": [4], "tail": [9]}, progress=lambda label, done, total: seen.append((label, done, total)),
    )  # fmt: skip

    assert report["detections"] > 0 and report["images"] == {"gold": 3, "evaluated": 3}
    assert 0 <= report["recall_at"]["1"] <= report["recall_at"]["10"] <= 1
    assert set(report["ci"]["recall_at"]) == {"1", "5", "10"} and "recall_at_merged" in report
    assert report["groups"]["tail"]["AP"] == -1 and report["groups"]["head"]["AP"] == report["AP"]
    assert seen[-1] == ("grounding", 3, 3) and "R@1" in report.text()


def test_a_name_that_no_prompt_can_hold_counts_as_not_found_and_is_told(glip_folder, world):
    gold = json.loads((world / "gold.json").read_text())
    gold["categories"][1]["name"] = endless = "blue star " * 200 + "ring"
    (world / "gold.json").write_text(json.dumps(gold))

    report = evaluate(glip_folder, world / "gold.json", world, bootstrap=0)

    assert report["unasked"] == {endless: 3} and report["phrases"] == 3
    assert "1 texts fit into no prompt" in report.text() and "of 3" in report.text()


def test_the_numbers_do_not_depend_on_the_batch_size(glip_folder, world):
    first, second = (
        evaluate(glip_folder, world / "gold.json", world, bootstrap=0, batch_size=size) for size in (1, 4)
    )

    assert first["recall_at"] == second["recall_at"] and first["AP"] == pytest.approx(second["AP"], abs=1e-3)


def detections(folder, world, **asking):
    """Return results by category, best first, without phrase recall."""
    evaluate(
        folder, world / "gold.json", world, phrases=False, bootstrap=0, batch_size=2,
        results_to=world / "results.json", prompt_options=PromptOptions(**asking),
    )  # fmt: skip
    return json.loads((world / "results.json").read_text())


def test_a_vocabulary_in_chunks_is_asked_whole_and_the_best_of_each_image_are_kept(glip_folder, world):
    joint = detections(glip_folder, world, chunk=1, max_detections=7)
    apart = detections(glip_folder, world, chunk=1, max_detections=7, per_chunk=True)

    for image in (1, 2, 3):
        of_joint, of_apart = ([row for row in rows if row["image_id"] == image] for rows in (joint, apart))
        assert {row["category_id"] for row in of_apart} == {4, 9}
        assert len(of_joint) == 7 and len(of_apart) == 14
        best = sorted((row["score"] for row in of_apart), reverse=True)[:7]
        assert [row["score"] for row in of_joint] == best


def test_a_class_alone_in_its_chunk_scores_as_it_does_in_a_prompt_of_its_own(glip_folder, world):
    chunked = detections(glip_folder, world, chunk=1, per_chunk=True)
    gold = json.loads((world / "gold.json").read_text())
    gold["categories"] = gold["categories"][1:]
    gold["annotations"] = []
    (world / "gold.json").write_text(json.dumps(gold))

    alone = detections(glip_folder, world)

    for image in (1, 2, 3):
        mine, theirs = (
            [row["score"] for row in rows if row["image_id"] == image and row["category_id"] == 9]
            for rows in (chunked, alone)
        )
        assert mine == pytest.approx(theirs, abs=1e-5)


def test_words_of_a_class_change_its_scores(glip_folder, world):
    plain = detections(glip_folder, world)
    other = detections(glip_folder, world, words={"circle": ClassWords(name="square", prefix="a red ")})

    assert {row["category_id"] for row in other} == {4, 9}
    assert [row["score"] for row in plain] != [row["score"] for row in other]


def test_padding_as_the_authors_do_is_the_same_for_images_of_whole_multiples_alone(glip_folder, world):
    """Images of 96 x 96 and 96 x 128 in one batch: the authors pad the smaller one to 128, buckets do not."""
    bucket, authors = (detections(glip_folder, world, pad=pad) for pad in ("bucket", "authors"))

    def scores(rows, image):
        return np.array([row["score"] for row in rows if row["image_id"] == image])

    assert np.allclose(scores(bucket, 1), scores(authors, 1), atol=1e-5)  # 96 x 128, the largest itself
    assert not np.allclose(scores(bucket, 2), scores(authors, 2), atol=1e-5)  # shares its batch


def test_a_results_file_takes_no_prompts(glip_folder, world):
    detections(glip_folder, world)

    with pytest.raises(ConfigError, match="takes no prompts"):
        evaluate(world / "results.json", world / "gold.json", prompt_options=PromptOptions(chunk=3))


def test_a_phrase_that_the_teacher_cannot_take_is_marked_and_listed_in_the_evidence():
    phrases = (
        Phrase(begin=0, end=5, text="a cat", root="cat"),
        Phrase(begin=6, end=11, text="a dog", root="dog"),
    )
    sample = Sample(
        unit="u", shard="s", index=0, key="k", pixels=Pixels(url="f"), image_sha256="0", caption="a cat a dog",
        width=9, height=9, phrases=phrases,
    )  # fmt: skip

    marked = mark_dropped(sample, ((1, "PH_TOO_LONG"),))

    assert [phrase.groundable for phrase in marked.phrases] == [True, False]
    assert [(drop.text, drop.code) for drop in marked.dropped_phrases] == [("a dog", "PH_TOO_LONG")]
    assert mark_dropped(sample, ()) is sample
