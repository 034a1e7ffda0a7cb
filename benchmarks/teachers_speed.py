"""Images per second of a labeler with phrases of captions, beside transformers' own ways, on two cores.

    python -m benchmarks.teachers_speed [--photos ../shared/data/real_web]

All use one model (the architecture of Grounding DINO tiny, random weights) and the same photographs with the noun
phrases of their own captions, four or more each, stretched to 480x640 in advance, so that all have one size:

- `pipeline`:  `transformers.pipeline("zero-shot-object-detection")` in a loop, with the phrases as candidate labels
- `batched`:   processor, model and post-processing on batches, as transformers documents it, torch with two threads
- `labeler`:   ours, two processes with one thread each, from the decoded image to regions in the stored frame

Ways take turns, round by round, after two images each that do not count. Loading is not counted.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from schemas.records import Phrase, Pixels, Sample
from teacher.phrases.finder import SpacyPhraseFinder
from teacher.settings import PhraseSettings

KIND = "grounding-dino"
SIZE = (480, 640)
PHRASES = 4
BATCH = 4
THRESHOLD = 0.3
WARM_UP = 2


def main(arguments: list[str] | None = None) -> None:
    """Print one row per way, with its ratio to the other ways of the same round."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, default=Path("../shared/data/real_web"))
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tiny", action="store_true", help="a model of 0.3 M parameters, to try the program")
    parser.add_argument("--to", type=Path, help="file for the figures, as JSON")
    chosen = parser.parse_args(arguments)
    samples = load_samples(chosen.photos, chosen.images)
    with tempfile.TemporaryDirectory() as folder:
        model = save_model(Path(folder), samples, tiny=chosen.tiny)
        speeds = compare_ways(model, samples, chosen.rounds)
    print_table(speeds, samples)
    if chosen.to is not None:
        chosen.to.write_text(json.dumps({"images": len(samples), "images_per_s": speeds}, indent=1) + "\n")


def load_samples(
    photos: Path, count: int, size: tuple[int, int] | None = SIZE
) -> list[tuple[Sample, np.ndarray]]:
    """Return the first photographs of a folder of tars whose captions have enough phrases.

    size: (height, width) to which they are stretched; None: their own
    """
    finder = SpacyPhraseFinder(PhraseSettings())
    samples: list[tuple[Sample, np.ndarray]] = []
    for tar in sorted(photos.glob("*.tar")):
        with tarfile.open(tar) as archive:
            members = {member.name: member for member in archive.getmembers()}
            for name in sorted(name for name in members if name.endswith(".jpg")):
                text = members.get(name.removesuffix(".jpg") + ".txt")
                if text is None or len(samples) == count:
                    continue
                caption = _read(archive, text).decode("utf-8")
                phrases = finder.find([caption])[0].phrases
                if len(phrases) >= PHRASES:
                    picture = Image.open(BytesIO(_read(archive, members[name]))).convert("RGB")
                    image = np.asarray(picture if size is None else picture.resize(size[::-1]))
                    samples.append((_make_sample(name, caption, phrases, image), image))
    if len(samples) < count:
        raise SystemExit(f"{photos} has {len(samples)} photographs with {PHRASES} phrases, expected {count}")
    return samples


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None, f"{member.name} is a file"
    return file.read()


def _make_sample(name: str, caption: str, phrases: Sequence[Phrase], image: np.ndarray) -> Sample:
    return Sample(
        unit="bench", shard="bench", index=0, key=name, pixels=Pixels(url=name), image_sha256="", caption=caption,
        width=image.shape[1], height=image.shape[0], phrases=tuple(phrases),
    )  # fmt: skip


def save_model(folder: Path, samples: Sequence[tuple[Sample, np.ndarray]], *, tiny: bool) -> Path:
    """Save Grounding DINO with random weights, and a tokenizer of the words that the phrases have."""
    from transformers import (
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoProcessor,
        SwinConfig,
    )
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
        GroundingDinoImageProcessorPil,
    )

    from benchmarks.random_models import make_bert_tokenizer, split_words

    torch.manual_seed(0)
    config = GroundingDinoConfig()
    if tiny:
        config = GroundingDinoConfig(
            backbone_config=SwinConfig(  # type: ignore[call-arg]
                image_size=128, embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
                out_features=["stage2", "stage3", "stage4"],
            ),
            text_config=BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64),
            d_model=32, encoder_layers=1, decoder_layers=2, num_queries=30, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64,
        )  # fmt: skip
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    tokenizer = make_bert_tokenizer(split_words(sample.caption for sample, _ in samples))
    images = GroundingDinoImageProcessorPil(size={"shortest_edge": SIZE[0], "longest_edge": SIZE[1]})
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def compare_ways(
    model: Path, samples: Sequence[tuple[Sample, np.ndarray]], rounds: int
) -> dict[str, list[float]]:
    """Return images per second of each way in each round."""
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor, pipeline

    torch.set_num_threads(2)
    network = AutoModelForZeroShotObjectDetection.from_pretrained(model).eval()
    processor = AutoProcessor.from_pretrained(model)
    detector = pipeline(
        "zero-shot-object-detection", model=network, tokenizer=processor.tokenizer,
        image_processor=processor.image_processor,
    )  # fmt: skip
    with LabelerProcesses(model, samples) as labelers:
        ways: dict[str, Callable[[Sequence[tuple[Sample, np.ndarray]]], None]] = {
            "pipeline": lambda some: run_pipeline(detector, some),
            "batched": lambda some: run_batched(network, processor, some),
            "labeler": lambda some: labelers.run(len(some)),
        }
        for run in ways.values():  # the first images of a process are slower
            run(samples[:WARM_UP])
        speeds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, run in ways.items():
                begin = time.perf_counter()
                run(samples)
                speeds[name].append(len(samples) / (time.perf_counter() - begin))
                print(f"{name}: {speeds[name][-1]:.3f} images/s", flush=True)
    return speeds


def run_pipeline(detector: Any, samples: Sequence[tuple[Sample, np.ndarray]]) -> None:
    """Ask image by image, by transformers' pipeline."""
    for sample, image in samples:
        labels = [phrase.text.lower() + "." for phrase in sample.phrases]
        detector(Image.fromarray(image), candidate_labels=labels, threshold=THRESHOLD)


def run_batched(
    network: torch.nn.Module, processor: Any, samples: Sequence[tuple[Sample, np.ndarray]]
) -> None:
    """Ask in batches."""
    for first in range(0, len(samples), BATCH):
        part = samples[first : first + BATCH]
        texts = [". ".join(phrase.text.lower() for phrase in sample.phrases) + "." for sample, _ in part]
        images = [Image.fromarray(image) for _, image in part]
        inputs = processor(images=images, text=texts, padding=True, return_tensors="pt")
        with torch.inference_mode():
            outputs = network(**inputs)
        processor.post_process_grounded_object_detection(
            outputs, inputs["input_ids"], threshold=THRESHOLD, text_threshold=THRESHOLD,
            target_sizes=[SIZE] * len(part),
        )  # fmt: skip


class LabelerProcesses:
    """Two processes with a labeler each. The driver gives each its half and waits for both."""

    def __init__(self, model: Path, samples: Sequence[tuple[Sample, np.ndarray]]) -> None:
        """Start the processes and wait until both have loaded the model."""
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for number in range(2):
            own, other = context.Pipe()
            process = context.Process(target=_serve, args=(other, str(model), list(samples[number::2])))
            process.start()
            self._pipes.append(own)
            self._processes.append(process)
        for pipe in self._pipes:
            pipe.recv()

    def __enter__(self) -> LabelerProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.send(None)
            process.join()

    def run(self, count: int) -> None:
        """Label the first samples, so many."""
        for number, pipe in enumerate(self._pipes):
            pipe.send(len(range(number, count, len(self._pipes))))
        for pipe in self._pipes:
            pipe.recv()


def _serve(pipe: Connection, model: str, samples: Sequence[tuple[Sample, np.ndarray]]) -> None:
    """Load a labeler, and label the samples whenever the driver asks. A batch has one row, the best on a CPU."""
    from teacher.factories import make_labeler

    labeler = make_labeler({"kind": KIND, "model": model}, 1, THRESHOLD)
    pipe.send(None)
    while (count := pipe.recv()) is not None:
        for sample, image in samples[:count]:
            labeler.label([labeler.prepare(sample, image)])
        pipe.send(None)


def print_table(speeds: dict[str, list[float]], samples: Sequence[tuple[Sample, np.ndarray]]) -> None:
    """Print the medians and the labeler's ratio to each way, round by round."""
    asked = statistics.mean(len(sample.phrases) for sample, _ in samples)
    print(f"\n{len(samples)} photographs of {SIZE[0]}x{SIZE[1]}, {asked:.1f} phrases each\n")
    print("| way | images/s, median | labeler's ratio, median | each round |")
    print("|---|---|---|---|")
    for name, each in speeds.items():
        ratios = [own / other for own, other in zip(speeds["labeler"], each, strict=True)]
        shown = ", ".join(f"{value:.3f}" for value in each)
        print(f"| {name} | {statistics.median(each):.3f} | {statistics.median(ratios):.2f} | {shown} |")


if __name__ == "__main__":
    main()
