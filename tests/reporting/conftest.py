"""Made-up numbers for the report: a plausible round in which the student wins on rare concepts.

They are inputs of tests, not results: nothing was measured.
"""

import random
from io import BytesIO
from types import SimpleNamespace

import pytest
from PIL import Image, ImageDraw

from pipelines.audit.report import audit_report, judge_with_truth
from pipelines.audit.sampling import draw_sample
from pipelines.reporting.data import (
    ExampleBox,
    Histogram,
    Interval,
    LabeledExample,
    LoopNumbers,
    ModelRow,
    NextCommand,
    PolicyStep,
    ReportData,
    ThresholdLine,
    ThresholdPoint,
    Timing,
    TrainingCurve,
)

COLORS = {"red": (200, 40, 60), "teal": (20, 140, 140), "yellow": (235, 195, 40), "violet": (120, 70, 190)}


def around(value, reach=0.03):
    return Interval(value=value, low=max(value - reach, 0.0), high=min(value + reach, 1.0))


def picture(seed):
    """Draw a small scene with three discs, and boxes around them."""
    chance = random.Random(seed)
    shade = chance.randrange(60, 230)
    image = Image.new("RGB", (96, 96), (shade, 200, 240 - shade // 2))
    draw = ImageDraw.Draw(image)
    boxes, words = [], []
    for number, (name, color) in enumerate(chance.sample(sorted(COLORS.items()), 3)):
        x, y, side = 4 + 30 * number, chance.randrange(8, 55), chance.randrange(20, 30)
        draw.ellipse((x, y, x + side, y + side), fill=color)
        score = chance.uniform(0.3, 0.8)
        boxes.append(
            ExampleBox(text=f"a {name} disc", box=(x, y, x + side, y + side), score=score, kept=score >= 0.4)
        )
        boxes.append(
            ExampleBox(text=f"a {name} disc", box=(x + 3, y - 4, x + side + 9, y + 9), score=0.2, kept=False)
        )
        words.append(f"a {name} disc")
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return LabeledExample(
        image=buffer.getvalue(),
        media_type="image/png",
        width=96,
        height=96,
        caption="stock photo of " + ", ".join(words),
        boxes=tuple(boxes),
    )


def models(tail=(0.08, 0.09, 0.33), head=(0.58, 0.66, 0.67)):
    notes = {
        "teacher": "gold only",
        "control": "+1,000 steps on gold",
        "student": "+1,000 steps on gold and view",
    }
    return tuple(
        ModelRow(
            model=name,
            note=note,
            metrics={
                "AP": around((2 * h + t) / 3),
                "AP50": around(min((2 * h + t) / 3 + 0.2, 1)),
                "head": around(h),
                "tail": around(t),
                "recall_at_1": around(0.8 + t / 3),
            },
        )
        for (name, note), t, h in zip(notes.items(), tail, head, strict=True)
    )


def audit_findings():
    """Make a real audit of a made-up view."""
    chance = random.Random(1)
    phrase = {"begin": 0, "end": 10, "text": "a red disc", "root": "disc", "kind": "chunk"}
    rows = [
        {
            "unit": "u", "shard": "s.tar", "index": number, "key": f"{number:09d}", "pixels": {"url": "s.tar"},
            "image_sha256": "0" * 64, "width": 96, "height": 96, "caption": "a red disc", "phrases": [phrase],
            "regions": [{"phrase": 0, "x0": 5.0, "y0": 5.0, "x1": 45.0, "y1": 45.0, "fate": "positive",
                         "origin": "teacher", "score": chance.uniform(0.4, 0.8)}],
        }
        for number in range(1500)
    ]  # fmt: skip
    view = SimpleNamespace(
        manifest=SimpleNamespace(digest="sha256:" + "5f" * 32, provenance={}), rows=lambda: iter(rows)
    )
    sample = draw_sample(view, seed=0, n=200)
    right = {region.item: chance.random() < 0.35 + 0.8 * region.score for region in sample.regions}
    return audit_report(
        sample, judge_with_truth(sample, lambda region: [region.box] if right[region.item] else [])
    )


@pytest.fixture
def data():
    chance = random.Random(0)
    steps = tuple(range(0, 1001, 50))
    curves = tuple(
        TrainingCurve(
            model=name,
            steps=steps,
            loss=tuple(start * 0.997**step + 0.6 + chance.uniform(-0.04, 0.04) for step in steps),
        )
        for name, start in (("teacher", 4.0), ("control", 1.0), ("student", 1.4))
    )
    kept = tuple(0 if n < 16 else max(0, 900 - (n - 22) ** 2 * 9) for n in range(40))
    dropped = tuple(max(0, 2600 - n * 90) if n < 28 else 0 for n in range(40))
    lines = tuple(
        ThresholdLine(
            name=name,
            points=tuple(
                ThresholdPoint(
                    threshold=t / 20, precision=around(min(base + t / 40, 0.98), 0.04), kept=9000 - 400 * t
                )
                for t in range(4, 15)
            ),
        )
        for name, base in (("head", 0.72), ("tail", 0.5))
    )
    return ReportData(
        title="Groundswell demo (numbers made up for a test)",
        seed=0,
        loop=LoopNumbers(
            gold_images=300,
            gold_boxes=880,
            web_samples=2400,
            web_shards=5,
            labelled=2391,
            empty=9,
            rejected=0,
            units=10,
            phrases=6210,
            evidence_regions=18400,
            kept_regions=4512,
            kept_samples=2204,
            train_steps=1000,
            test_images=250,
        ),  # fmt: skip
        models=models(),
        gains={
            "tail": Interval(value=0.24, low=0.18, high=0.30),
            "head": Interval(value=0.01, low=-0.01, high=0.03),
            "AP": Interval(value=0.087, low=0.06, high=0.11),
        },
        examples=tuple(picture(seed) for seed in range(8)),
        scores=Histogram(
            kept=kept, dropped=dropped, score_kind="Score: sqrt(mean token probability x centerness)."
        ),
        threshold=0.4,
        thresholds=lines,
        curves=curves,
        audit=audit_findings(),
        policy=(
            PolicyStep(operation="NMS per phrase", setting="0.6", regions_after=15900),
            PolicyStep(operation="one-to-one", setting="", regions_after=5630),
            PolicyStep(operation="min score", setting="0.4", regions_after=4700),
            PolicyStep(operation="merge IoU", setting="0.75", regions_after=4512),
        ),
        timings=(
            Timing(step="render the world", seconds=9),
            Timing(step="train the teacher", seconds=133),
            Timing(step="label", seconds=21),
            Timing(step="compile", seconds=2),
            Timing(step="train student and control", seconds=71),
            Timing(step="evaluate", seconds=8, cached=True),
        ),
        next_commands=(
            NextCommand(command="groundswell audit serve runs/demo/audit", what="review the sample yourself"),
            NextCommand(command="groundswell label job.yaml", what="label your own shards"),
        ),
        notes=("These numbers were made up to test the page.", "One seed says little."),
        provenance={"view": "sha256:" + "5f" * 32, "recipe": "sha256:" + "2b" * 32},
    )
