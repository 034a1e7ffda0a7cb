"""A tiny teacher in this process: web shards to a view, and a model's numbers on the held-out scenes.

What the engine and `groundswell evaluate` do for any teacher at any size, in the fewest lines, for benchmarks alone.
"""

# B images of a batch
from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from engine.images import decode_image
from engine.pixels import read_pixels
from engine.tar_reader import read_members
from engine.views import open_view, write_view
from pipelines.compile.policy import Policy
from pipelines.compile.rules import apply_policy
from pipelines.demo.world.build import World
from pipelines.demo.world.gold import CATEGORY_IDS, GROUPS
from pipelines.demo.world.lexicon import NOUNS, TAIL_NOUNS
from pipelines.demo.world.web import read_truth
from schemas.boxes import as_boxes, iou
from schemas.digests import sha256_hex
from student.evaluate.coco import coco_numbers
from student.evaluate.phrases import AskedPhrase, phrase_recall
from student.prompts import SEPARATOR
from teacher.models.glip import GlipForGrounding, GlipProcessor
from teacher.phrases.finder import SpacyPhraseFinder
from teacher.settings import PhraseSettings

BATCH = 16
SIDES = ("x0", "y0", "x1", "y1")
Spans = Sequence[tuple[int, int]]


class TinyTeacher:
    """Boxes for spans of texts, in half-open pixels of the stored images."""

    def __init__(self, folder: Path) -> None:
        self.model = GlipForGrounding.from_pretrained(folder).eval()
        self.processor = GlipProcessor.from_pretrained(folder)

    @torch.inference_mode()
    def find(
        self, images: Sequence[Any], texts: Sequence[str], spans: Sequence[Spans], **rules: float
    ) -> list[list[dict[str, float]]]:
        """Per image its regions, best first; `phrase` is the index of the span."""
        width = self.processor.max_tokens
        inputs = self.processor(images, texts, text_width=width)
        tokens = [
            self.processor.phrase_tokens(text, [[span] for span in own], width)
            for text, own in zip(texts, spans, strict=True)
        ]
        outputs = self.model(**inputs)
        found = self.processor.post_process_grounded_object_detection(
            outputs,
            tokens,
            self.processor.image_sizes(inputs["pixel_mask"]),
            [image.shape[:2] for image in images],
            **rules,
        )
        return [_regions(result) for result in found]


def _regions(result: dict[str, torch.Tensor]) -> list[dict[str, Any]]:
    boxes = result["boxes"] + torch.tensor([0.0, 0.0, 1.0, 1.0])
    rows = zip(result["labels"].tolist(), boxes.tolist(), result["scores"].tolist(), strict=True)
    return [
        {"phrase": label, **dict(zip(SIDES, box, strict=True)), "score": score, "pass_index": 0}
        for label, box, score in rows
    ]


def label_web(model: Path, world: World, policy: Policy, view: Path) -> dict[str, Any]:
    """Write the view of all web shards under a policy; returns how right its boxes are, by the world's truth."""
    teacher = TinyTeacher(model)
    evidence = [row for shard in world.web_shards for row in _unlabelled(shard)]
    for first in range(0, len(evidence), BATCH):
        rows = [row for row in evidence[first : first + BATCH] if row["phrases"]]
        images = [decode_image(read_pixels(row["pixels"])).rgb_u8 for row in rows]
        spans = [[(phrase["begin"], phrase["end"]) for phrase in row["phrases"]] for row in rows]
        texts = [row["caption"] for row in rows]
        for row, regions in zip(
            rows, teacher.find(images, texts, spans, threshold=0.02, nms_iou=0.7), strict=True
        ):
            row["regions"] = [region for region in regions if region["score"] >= 0.05]
    rows = [apply_policy(row, policy).row for row in evidence]
    write_view(str(view), rows, kind="view", provenance={"policy": policy.model_dump(mode="json")})
    return {"quality": label_quality(rows, world)}


def _unlabelled(shard: Path) -> Iterator[dict[str, Any]]:
    members = {member.name: member for member in read_members(shard)}
    data = shard.read_bytes()
    keys = [name.removesuffix(".txt") for name in members if name.endswith(".txt")]
    finder = SpacyPhraseFinder(PhraseSettings())
    captions = [_content(data, members[f"{key}.txt"]).decode() for key in keys]
    for index, (key, caption, found) in enumerate(zip(keys, captions, finder.find(captions), strict=True)):
        facts = json.loads(_content(data, members[f"{key}.json"]))
        image = members[f"{key}.jpg"]
        yield {
            "unit": shard.stem,
            "shard": str(shard),
            "index": index,
            "key": key,
            "pixels": {"url": str(shard), "offset": image.offset, "length": image.size_bytes},
            "image_sha256": sha256_hex(_content(data, image)),
            "meta": "{}",
            "width": facts["width"],
            "height": facts["height"],
            "caption": caption,
            "phrases": [phrase.model_dump() for phrase in found.phrases],
            "dropped_phrases": [phrase.model_dump() for phrase in found.dropped],
            "regions": [],
        }


def _content(data: bytes, member: Any) -> bytes:
    return data[member.offset : member.offset + member.size_bytes]


def label_quality(rows: Sequence[dict[str, Any]], world: World) -> dict[str, float]:
    """Precision of the kept boxes (IoU >= 0.5 with a thing that the phrase means) and share of phrases kept right."""
    truth = read_truth(world.web_truth)
    kept, right, meant = {"head": 0, "tail": 0}, {"head": 0, "tail": 0}, {"head": 0, "tail": 0}
    for row in rows:
        scene = truth[Path(row["shard"]).name, row["key"]]
        things = as_boxes([thing["box_xyxy_px"] for thing in scene["things"]])
        real = {(phrase["begin"], phrase["end"]): phrase["things"] for phrase in scene["phrases"]}
        for index, phrase in enumerate(row["phrases"]):
            group = "tail" if phrase["root"] in TAIL_NOUNS else "head"
            own = things[real.get((phrase["begin"], phrase["end"]), [])]
            meant[group] += bool(len(own))
            for region in row["regions"]:
                if region["phrase"] == index:
                    kept[group] += 1
                    box = as_boxes([[region[side] for side in SIDES]])
                    right[group] += bool(len(own) and iou(box, own).max() >= 0.5)
    return {
        f"{what} {group}": round(right[group] / max(1, total[group]), 4)
        for what, total in (("precision", kept), ("recall", meant))
        for group in ("head", "tail")
    }


def evaluate(model: Path, world: World) -> dict[str, float]:
    """AP and AP50 of head and tail for the prompt of all nouns, and Recall@1 of the held-out captions' phrases."""
    teacher = TinyTeacher(model)
    rows = list(open_view(world.test_view).rows())
    images = [decode_image(read_pixels(row["pixels"])).rgb_u8 for row in rows]
    gold = json.loads(world.test_coco.read_text())
    numbers = coco_numbers(gold, _detections(teacher, images), groups=GROUPS)["groups"]
    asked = _asked_phrases(teacher, images, rows)
    recalls = {"R@1": phrase_recall([phrase for _, phrase in asked])["1"]}
    for group, nouns in (("head", set(NOUNS) - set(TAIL_NOUNS)), ("tail", set(TAIL_NOUNS))):
        recalls[f"R@1 {group}"] = phrase_recall([phrase for root, phrase in asked if root in nouns])["1"]
    found = {f"{name} {group}": numbers[group][name] for name in ("AP", "AP50") for group in ("head", "tail")}
    return {**found, **recalls}


def _detections(teacher: TinyTeacher, images: Sequence[Any]) -> list[dict[str, Any]]:
    text, spans = SEPARATOR.join(NOUNS), []
    for noun in NOUNS:
        begin = spans[-1][1] + len(SEPARATOR) if spans else 0
        spans.append((begin, begin + len(noun)))
    results = []
    for first in range(0, len(images), BATCH):
        batch = images[first : first + BATCH]
        found = teacher.find(batch, [text] * len(batch), [spans] * len(batch), threshold=0.01)
        for offset, regions in enumerate(found):
            for region in regions:
                x0, y0, x1, y1 = (region[side] for side in SIDES)
                category = CATEGORY_IDS[NOUNS[region["phrase"]]]
                row = {"image_id": first + offset, "category_id": category, "score": region["score"]}
                results.append({**row, "bbox": [x0, y0, x1 - x0, y1 - y0]})
    return results


def _asked_phrases(
    teacher: TinyTeacher, images: Sequence[Any], rows: Sequence[dict[str, Any]]
) -> list[tuple[str, AskedPhrase]]:
    asked = []
    for first in range(0, len(rows), BATCH):
        batch = rows[first : first + BATCH]
        spans = [[(phrase["begin"], phrase["end"]) for phrase in row["phrases"]] for row in batch]
        texts = [row["caption"] for row in batch]
        for row, regions in zip(
            batch, teacher.find(images[first : first + BATCH], texts, spans, threshold=0.0), strict=True
        ):
            for index, phrase in enumerate(row["phrases"]):
                gold = [[r[side] for side in SIDES] for r in row["regions"] if r["phrase"] == index]
                own = [region for region in regions if region["phrase"] == index]
                boxes = as_boxes([[region[side] for side in SIDES] for region in own])
                scores = [region["score"] for region in own]
                asked.append((phrase["root"], AskedPhrase(row["key"], as_boxes(gold), boxes, scores)))
    return asked
