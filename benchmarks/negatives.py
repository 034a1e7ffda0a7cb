"""How often a detection prompt asks as absent what may be true of one of its boxes, by both rules of `negatives`.

    python -m benchmarks.negatives [--web ../shared/data/real_web] [--detector YOLOX.onnx]
    python -m benchmarks.negatives --view VIEW [--judged FILE]

Labels the web images with the detector, compiles them under the default policy, and draws the prompts of a training
with detection prompts alone. A prompt contradicts itself if a noun without a
box may be true of a box of another noun. Three judges: pairs judged by hand (for the boxed nouns of real_web only),
words for people, and the bundled table with all meanings of both nouns. The last one counts too much: in the table a
cat is "a spiteful woman", too.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations, product
from pathlib import Path

from benchmarks.inputs import existing_file, existing_folder
from pipelines.compile.policy import Policy
from pipelines.compile.run import compile_view
from pipelines.label.job import JobConfig
from pipelines.label.run import label
from pipelines.terminal.table import format_table
from student.data.order import slot_generator
from student.data.streams import Stream, load_stream
from student.prompts.training_prompt import (
    TokenBudget,
    TrainingPrompt,
    draw_negative_count,
    make_detection_prompt,
)
from student.settings.streams import PromptMix, StreamSettings
from teacher.detectors.class_names import SYNONYMS
from teacher.nouns.table import load_nouns

JUDGED = Path(__file__).with_name("negatives_judged.txt")
RULES = ("words", "concepts")
# No prompt of at most 15 absent nouns comes near the 256 tokens of a model.
_BUDGET = TokenBudget(10_000, lambda text: len(text.split()))
_PEOPLE = {"person", *SYNONYMS["person"].split()}
Judge = Callable[[str, str], bool]


@dataclass
class RuleCounts:
    """What the prompts of one rule ask."""

    prompts: int = 0
    negatives: int = 0
    contradicting: Counter[str] = field(default_factory=Counter)
    """Prompts in which a judge finds a contradiction, by the judge's name."""
    people_prompts: int = 0
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(noun with a box, noun asked as absent) that the judge by hand finds, with their counts."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both rules and print a table, or JSON."""
    options = _read_options(arguments)
    with tempfile.TemporaryDirectory() as folder:
        view = options.view or make_view(options.web, options.detector, Path(folder))
        prompts = PromptMix(detection=1, phrase_list=0, caption=0)
        stream = load_stream(StreamSettings(url=view, share=1, prompts=prompts))
        judges = {"by hand": judge_by_hand(options.judged), "by all meanings": judge_by_table}
        found = {
            most: {rule: measure(change(stream, rule, most), judges, options.epochs) for rule in RULES}
            for most in options.negatives_max
        }
    rows = {
        f"{rule}, at most {most}": describe(counts, rules["words"])
        for most, rules in found.items()
        for rule, counts in rules.items()
    }
    if options.json:
        print(json.dumps({"images": stream.images, "nouns": len(stream.vocabulary), "rules": rows}))
        return
    print(f"{stream.images} images, {len(stream.vocabulary)} nouns, {options.epochs} epochs")
    columns = next(iter(rows.values()))
    print(format_table([[name, *row.values()] for name, row in rows.items()], ["negatives", *columns]))
    for rule, counts in found[options.negatives_max[0]].items():
        pairs = ", ".join(f"{own}+ {asked}- ({n})" for (own, asked), n in counts.pairs.most_common(8))
        print(f"{rule}: {pairs or 'no pair that contradicts itself by hand'}")


def make_view(web: Path, detector: Path, folder: Path) -> str:
    """Label the shards of `web` with the detector and compile them. Return the URL of the view."""
    evidence, view = str(folder / "evidence"), str(folder / "view")
    config = JobConfig.model_validate(
        {
            "input": {"urls": [str(shard) for shard in sorted(web.glob("*.tar"))]},
            "teacher": {"kind": "detector", "model": str(detector)},
            "output": {"url": evidence},
            "run": {"executor": "local"},
        }
    )
    label(config)
    compile_view(evidence, Policy(), view)
    return view


def change(stream: Stream, rule: str, negatives_max: int) -> Stream:
    """Return the stream under a rule, with prompts of at most so many negatives."""
    settings = stream.settings.model_copy(update={"negatives_max": negatives_max})
    relations = None if rule == "words" else stream.relations
    return replace(stream, settings=settings, relations=relations)


def measure(stream: Stream, judges: dict[str, Judge], epochs: int) -> RuleCounts:
    """Draw a prompt for each image with a box in each epoch, and count what it asks."""
    counts, people = RuleCounts(), judge_people
    usable = [row for row in range(len(stream.examples)) if len(stream.examples[row].boxes_xyxy_px_G4)]
    for epoch, row in product(range(epochs), usable):
        rng = slot_generator(0, epoch * len(usable) + row, "prompt")
        number = draw_negative_count(rng, stream.settings)
        prompt = make_detection_prompt(rng, stream, stream.examples[row], number, _BUDGET)
        own, asked = split_nouns(prompt)
        if not own:
            continue
        counts.prompts += 1
        counts.negatives += len(asked)
        for name, judge in judges.items():
            counts.contradicting[name] += any(judge(one, other) for one, other in product(own, asked))
        counts.pairs.update(pair for pair in product(own, asked) if judges["by hand"](*pair))
        if any(map(people, own)):
            counts.people_prompts += 1
            counts.contradicting["people"] += any(map(people, asked))
    return counts


def split_nouns(prompt: TrainingPrompt) -> tuple[list[str], list[str]]:
    """Return the nouns with a box, and those without."""
    nouns = {prompt.text[span.begin : span.end]: span for span in prompt.spans}
    own = [noun for noun, span in nouns.items() if span.boxes]
    asked = [noun for noun, span in nouns.items() if not span.boxes and not span.ignored]
    return own, asked


def describe(counts: RuleCounts, words: RuleCounts) -> dict[str, str]:
    """Return the figures of a rule, as texts. words: the counts of the rule of earlier versions."""
    mean, before = counts.negatives / max(counts.prompts, 1), words.negatives / max(words.prompts, 1)
    shares = {
        f"contradicting {name}": f"{counts.contradicting[name] / max(counts.prompts, 1):.2%}"
        for name in ("by hand", "by all meanings")
    }
    people = counts.contradicting["people"] / max(counts.people_prompts, 1)
    return {
        "prompts": str(counts.prompts),
        "negatives a prompt": f"{mean:.2f}",
        "of words": f"{mean / max(before, 1e-9):.1%}",
        **shares,
        "people beside people": f"{people:.1%}",
    }


def judge_by_hand(path: Path) -> Judge:
    """Return the judge of a file of pairs. Raises ValueError for a line of no known form."""
    pairs: set[tuple[str, str]] = set()
    everywhere: set[str] = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        first, *words = line.split()
        if first == "*":
            everywhere.update(words)
        elif first == "=":
            pairs.update(permutations(words, 2))
        elif words[:1] == [">"]:
            pairs.update(pair for word in words[1:] for pair in ((first, word), (word, first)))
        else:
            raise ValueError(f"{path}: {line[:60]!r}: expected '= WORDS', '* WORDS' or 'WORD > WORDS'")
    return lambda own, asked: asked in everywhere or (own, asked) in pairs


def judge_by_table(own: str, asked: str) -> bool:
    """Return whether a meaning of one noun is equal to, or broader than, one of the other."""
    table = load_nouns()
    ours, theirs = (table.meanings.get(noun, ()) for noun in (own, asked))
    return not (table.find_broader(ours).isdisjoint(theirs) and table.find_broader(theirs).isdisjoint(ours))


def judge_people(noun: str) -> bool:
    """Return whether the noun is a word for people in the list of a detector's class names."""
    return noun in _PEOPLE


def _read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = Path("../shared/data")
    folder, file = existing_folder("a folder of tar shards"), existing_file("an ONNX detector, or --view")
    parser.add_argument("--web", type=folder, default=data / "real_web")
    parser.add_argument("--detector", type=file, default=data / "real_teacher" / "yolox_nano.onnx")
    parser.add_argument("--view", help="measure this view instead")
    parser.add_argument("--judged", type=existing_file("judged pairs"), default=JUDGED)
    parser.add_argument("--epochs", type=int, default=20, help="prompts drawn for each image")
    parser.add_argument(
        "--negatives-max",
        type=int,
        nargs="+",
        default=[15, 85],
        help="upper bounds on absent nouns of a prompt: the default, and that of GLIP's authors",
    )
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
