"""The authors' small reference models, rebuilt from the recipe of their weights."""

from __future__ import annotations

import importlib.util
import inspect
import json
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from teacher.models.glip import GlipConfig, GlipForGrounding, GlipProcessor, tiny_world
from teacher.models.glip.checkpoint.official_keys import translate_key
from teacher.models.glip.outputs import GlipGroundingOutput
from teacher.models.glip.tokenizers.word import make_word_tokenizer

torch.set_num_threads(1)
PARITY_CONFIG = {
    "swin_embed_dim": 32,
    "swin_depths": (2, 1, 2, 1),
    "swin_heads": (1, 2, 4, 8),
    "channels": 64,
    "text_hidden": 64,
    "text_layers": 2,
    "text_heads": 4,
    "text_intermediate": 128,
    "num_blocks": 2,
}
# The authors' structure with the fewest parameters that still have all of its parts.
SMALLEST = {
    "swin_embed_dim": 16,
    "swin_depths": (2, 1, 2, 1),
    "swin_heads": (1, 2, 2, 4),
    "swin_window": 4,
    "channels": 32,
    "vocab_size": 20,
    "text_hidden": 32,
    "text_layers": 1,
    "text_heads": 2,
    "text_intermediate": 32,
    "num_blocks": 1,
    "fusion_width": 32,
}
WORDS = ("a", "red", "blue", "circle", "square", "triangle", "of", "the", "on")


def official_keys_of_tiny(config: GlipConfig, full_keys: list[str]) -> list[str]:
    """Return the full model's official keys that our small configuration has."""
    with torch.device("meta"):
        ours = set(GlipForGrounding(config).state_dict())
    return [key for key in full_keys if translate_key(key, config.fusion) in ours]


@dataclass
class Reference:
    """One variant of the authors' code: its recorded arrays, and our model with the same weights."""

    folder: Path
    name: str
    fusion: bool

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        with np.load(self.folder / f"reference_{self.name}.npz") as stored:
            return {key: stored[key] for key in stored.files}

    @cached_property
    def meta(self) -> dict[str, Any]:
        return json.loads(bytes(self.arrays["meta"]).decode())

    @cached_property
    def recipe(self) -> ModuleType:
        return _load(self.folder / "weights.py")

    @cached_property
    def compare(self) -> ModuleType:
        return _load(self.folder / "compare.py")

    @cached_property
    def names(self) -> dict[str, str]:
        """Return our key by official key, for the keys that the small model has."""
        listed = json.loads((self.folder / f"keys_glip_{'t' if self.fusion else 'a'}.json").read_text())
        keys = official_keys_of_tiny(self.config, list(listed["keys"]))
        return {key: translate_key(key, self.fusion) for key in keys}

    @cached_property
    def config(self) -> GlipConfig:
        return GlipConfig(fusion=self.fusion, **PARITY_CONFIG)

    def model(self, dtype: torch.dtype = torch.float32, **changes: Any) -> GlipForGrounding:
        """Return our model with the authors' weights, in evaluation mode. `changes` are of its configuration."""
        model = GlipForGrounding(GlipConfig(fusion=self.fusion, **{**PARITY_CONFIG, **changes}))
        shapes = {key: value.shape for key, value in model.state_dict().items()}
        made = {ours: self.recipe.value(key, shapes[ours]) for key, ours in self.names.items()}
        model.load_state_dict({key: torch.from_numpy(value) for key, value in made.items()})
        return model.to(dtype).eval()

    @cached_property
    def ours(self) -> GlipForGrounding:
        """Return `model()`, built once. Do not change it."""
        return self.model()

    def outputs(self, case: str) -> GlipGroundingOutput:
        """Return our float32 outputs of a case, computed once. Do not modify them."""
        if case not in self._outputs:
            with torch.no_grad():
                self._outputs[case] = self.ours(**self.inputs(case))
        return self._outputs[case]

    @cached_property
    def _outputs(self) -> dict[str, GlipGroundingOutput]:
        return {}

    def inputs(self, case: str, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        """Return the network's input of case A (image 0), B (image 1) or C (both, padded to the larger)."""
        images = {"A": [0], "B": [1], "C": [0, 1]}[case]
        sizes = [self.meta["sizes"][index] for index in images]
        height, width = (max(size[axis] for size in sizes) for axis in (0, 1))
        pixels = np.zeros((len(images), 3, height, width), np.float32)
        for row, (index, (rows, columns)) in enumerate(zip(images, sizes, strict=True)):
            rgb = self.recipe.image_rgb(rows, columns, index)
            pixels[row, :, :rows, :columns] = self.recipe.network_input(rgb)
        return {
            "pixel_values": torch.from_numpy(pixels).to(dtype),
            "input_ids": torch.from_numpy(self.arrays[f"{case}/input_ids"]),
            "attention_mask": torch.from_numpy(self.arrays[f"{case}/attention_mask"]),
        }

    def labels(self) -> list[dict[str, torch.Tensor]]:
        """Return the ground truth of case C."""
        rows = torch.from_numpy(self.arrays["train/positive_map"])
        labels, start = [], 0
        for image in self.meta["gt"]:
            count = len(image["boxes"])
            labels.append(
                {"boxes": torch.tensor(image["boxes"]), "positive_map": rows[start : start + count]}
            )
            start += count
        return labels


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"parity_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Tidy = Callable[..., None]


@pytest.fixture
def tidy(monkeypatch: pytest.MonkeyPatch) -> Tidy:
    """Rewrite pieces of a function's source during a test, for all callers."""

    def rewrite(function: Any, *changes: tuple[str, str]) -> None:
        source = textwrap.dedent(inspect.getsource(function))
        for old, new in changes:
            assert source.count(old) == 1, f"{function.__qualname__} has {old!r} {source.count(old)} times"
            source = source.replace(old, new)
        made: dict[str, Any] = {}
        exec(compile(source, "<tidied>", "exec"), function.__globals__, made)
        monkeypatch.setattr(function, "__code__", made[function.__name__].__code__)

    return rewrite


@pytest.fixture(scope="session", params=["tiny", "tiny_a"])
def reference(request: pytest.FixtureRequest, shared_parity: Path) -> Reference:
    return Reference(shared_parity, request.param, fusion=request.param == "tiny")


@pytest.fixture(scope="session")
def fused_reference(shared_parity: Path) -> Reference:
    return Reference(shared_parity, "tiny", fusion=True)


@pytest.fixture(scope="session")
def plain_reference(shared_parity: Path) -> Reference:
    return Reference(shared_parity, "tiny_a", fusion=False)


@pytest.fixture(scope="session")
def processor() -> GlipProcessor:
    """Return a processor for 96-pixel images and a dozen words."""
    mean, std = (127.5, 127.5, 127.5), (64.0, 64.0, 64.0)
    tokenizer = make_word_tokenizer(WORDS)
    return GlipProcessor(
        tokenizer, 96, 96, channel_order="rgb", pixel_mean=mean, pixel_std=std, max_tokens=16
    )


@pytest.fixture
def tiny_model(processor: GlipProcessor) -> GlipForGrounding:
    """Return the tiny world's model with random weights, in evaluation mode."""
    torch.manual_seed(0)
    return GlipForGrounding(tiny_world(len(processor.tokenizer))).eval()


@pytest.fixture
def small_swin() -> GlipForGrounding:
    """Return the smallest model with Swin, fusion and deformable convolutions, in evaluation mode."""
    torch.manual_seed(0)
    return GlipForGrounding(GlipConfig(**SMALLEST)).eval()


@pytest.fixture
def two_blocks() -> GlipForGrounding:
    """Return `small_swin` with a second block and much drop path."""
    torch.manual_seed(0)
    return GlipForGrounding(GlipConfig(**{**SMALLEST, "num_blocks": 2, "drop_path_rate": 0.5})).eval()


@pytest.fixture(scope="session")
def pictures() -> list[np.ndarray]:
    """Return three 96-pixel images of noise, each with a plain square at another position."""
    images = np.random.default_rng(0).integers(0, 255, (3, 96, 96, 3), dtype=np.uint8)
    for place, image in enumerate(images):
        image[10 + 20 * place : 40 + 20 * place, 20:60] = (250, 20, 20)
    return list(images)
