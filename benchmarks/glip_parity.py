"""GLIP's numbers beside the authors': largest difference of each group of arrays, and of losses and gradients.

    python -m benchmarks.glip_parity ../shared/parity --variants tiny,tiny_a --dtypes float32,float64

The folder has the authors' outputs and the recipe of the weights. tests/teacher/glip/test_parity.py compares with
tolerances. `tests/` is not a package, so its model builder is loaded by path.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from benchmarks.inputs import existing_folder

TESTS = Path(__file__).resolve().parent.parent / "tests" / "teacher" / "glip"
CASES = ("A", "B", "C")


def main(arguments: list[str] | None = None) -> None:
    """Print a table per variant and type: group, largest difference, the group's largest value."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=existing_folder("the authors' recorded outputs"))
    parser.add_argument("--variants", default="tiny,tiny_a")
    parser.add_argument("--dtypes", default="float32,float64")
    options = parser.parse_args(arguments)
    world, parity = _load("conftest"), _load("test_parity")
    for variant in options.variants.split(","):
        reference = world.Reference(options.folder, variant, fusion=variant == "tiny")
        for dtype in options.dtypes.split(","):
            print(f"{variant}, {dtype}")
            for line in _activations(reference, parity, getattr(torch, dtype)):
                print("  " + line)
            for line in _training(reference, getattr(torch, dtype)):
                print("  " + line)


def _activations(reference: Any, parity: ModuleType, dtype: torch.dtype) -> list[str]:
    worst: dict[str, float] = defaultdict(float)
    largest: dict[str, float] = defaultdict(float)
    model = reference.model(dtype)
    for case in CASES:
        ours = parity.activations(model, reference.inputs(case, dtype))
        for name, theirs in parity.expected(reference, case).items():
            group = reference.compare.group(f"{case}/{name}")
            worst[group] = max(worst[group], float(np.abs(ours[name] - theirs).max()))
            largest[group] = max(largest[group], float(np.abs(theirs).max()))
    return [
        f"{group:20s} {worst[group]:.1e} of {largest[group]:.1e}, tolerance {reference.compare.TOL[group][0]:.0e}"
        for group in worst
    ]


def _training(reference: Any, dtype: torch.dtype) -> list[str]:
    model = reference.model(dtype)
    outputs = model(**reference.inputs("C", dtype), labels=reference.labels())
    outputs.loss.backward()
    parameters = dict(model.named_parameters())
    losses = max(
        abs(value.item() / reference.meta["losses"][name] - 1) for name, value in outputs.loss_dict.items()
    )
    gradients = max(
        abs(parameters[reference.names[key]].grad.norm().item() / norm - 1)
        for key, norm in reference.meta["grad_norms"].items()
    )
    return [f"{'losses':20s} {losses:.1e} relative", f"{'gradient norms':20s} {gradients:.1e} relative"]


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"glip_tests_{name}", TESTS / f"{name}.py")
    assert spec is not None and spec.loader is not None, "the tests are next to the benchmarks"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
