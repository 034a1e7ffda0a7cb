"""How fast GLIP is: images per second, peak memory and the share of each part, beside Grounding DINO tiny.

    python -m benchmarks.glip_speed                                   # what `make bench-glip` runs on this machine
    python -m benchmarks.glip_speed --size 800x1333 --batches 1,2,4,8,16,32 --precisions fp32,bf16 --device cuda

Weights are random: speed does not depend on them. Each row runs in a process of its own, so that its peak memory is
its own; on a CPU that is the process's largest resident size, on a GPU what torch allocated.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

MODELS = ("glip-t", "glip-a", "glip-l", "grounding-dino-tiny")
SMALL = ("glip-small", "grounding-dino-small")  # for a look at whether it runs
TOKENS, VOCABULARY = 256, 30522
# Words, a separator after each second one: about as a detection prompt of COCO's 80 names fills 256 tokens.
PROMPT_TOKENS = 195
# Parts by the first module whose name begins so; what remains is "other" (heads, reshaping, anchors).
PARTS = {
    "image backbone": ("model.backbone.",),
    "pyramid": ("model.fpn", "model.input_proj_vision"),
    "text encoder": ("model.text_encoder", "model.text_backbone"),
    "fusion and text layers": (".fusion", ".text_layer"),
    "dynamic convolutions": (".dynamic_conv",),
    "encoder": ("model.encoder",),
    "decoder": ("model.decoder",),
}
_SMALL_TEXT = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 32}
_SMALL_GROUNDING_DINO: dict[str, Any] = {
    "backbone_config": {
        "model_type": "swin", "embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1),
        "out_features": ["stage2", "stage3", "stage4"],
    },
    "text_config": {"model_type": "bert", **_SMALL_TEXT},
    "d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "num_queries": 20,
    "decoder_layers": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 32,
}  # fmt: skip
_SMALL_GLIP: dict[str, Any] = {
    "swin_embed_dim": 16, "swin_depths": (1, 1, 1, 1), "swin_heads": (1, 1, 1, 1), "channels": 32,
    "text_hidden": 32, "text_layers": 1, "text_heads": 2, "text_intermediate": 32, "num_blocks": 1,
    "fusion_width": 32,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """One row per model, precision and batch size."""
    options = _options(arguments)
    if options.one:
        model, precision, batch = options.one.split(",")
        print(json.dumps(measure(model, precision, batch, options)))
        return
    rows = []
    for model in options.models.split(","):
        for precision in options.precisions.split(","):
            for batch in options.batches.split(","):
                rows.append(_run_in_child(f"{model},{precision},{batch}", options))
                print(_line(rows[-1]), flush=True)
    if options.out:
        Path(options.out).write_text(
            json.dumps({"machine": _machine(options.device), "rows": rows}, indent=1) + "\n"
        )
    print(
        f"{_machine(options.device)}; image {options.size}, {PROMPT_TOKENS} of {TOKENS} tokens, random weights"
    )


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    gpu = torch.cuda.is_available()
    parser.add_argument("--models", default="glip-t,grounding-dino-tiny", help=", ".join(MODELS + SMALL))
    parser.add_argument("--device", default="cuda" if gpu else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--size", default="800x1333" if gpu else "480x640", help="height x width")
    parser.add_argument("--batches", default="1,2,4,8,16,32" if gpu else "1")
    parser.add_argument("--precisions", default="fp32,bf16" if gpu else "fp32")
    parser.add_argument("--seconds", type=float, default=5.0, help="least time of a measurement")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--compile", action="store_true", help="torch.compile the model")
    parser.add_argument("--out", help="JSON file for the rows")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _run_in_child(one: str, options: argparse.Namespace) -> dict[str, Any]:
    passed = [f"--{name}={getattr(options, name)}" for name in ("device", "size", "seconds", "threads")]
    command = [sys.executable, "-m", __spec__.name, f"--one={one}", *passed]
    child = subprocess.run(
        [*command, *(["--compile"] if options.compile else [])], capture_output=True, text=True, check=False
    )
    if child.returncode:
        model, precision, batch = one.split(",")
        last = (child.stderr.strip().splitlines() or ["no message"])[-1]
        return {"model": model, "precision": precision, "batch": int(batch), "failed": last[:160]}
    return dict(json.loads(child.stdout.splitlines()[-1]))


def measure(model: str, precision: str, batch: str, options: argparse.Namespace) -> dict[str, Any]:
    """Images per second, peak memory in MiB and the share of each part."""
    torch.set_num_threads(options.threads)
    height, width = (int(side) for side in options.size.split("x"))
    device, images = torch.device(options.device), int(batch)
    network = build(model).to(device).eval()
    inputs = {name: value.to(device) for name, value in random_inputs(images, height, width).items()}
    run: Callable[..., Any] = torch.compile(network) if options.compile else network

    def forward() -> None:
        with torch.inference_mode(), _precision(precision, device):
            run(**inputs)
        if device.type == "cuda":
            torch.cuda.synchronize()

    forward()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    began, rounds = time.perf_counter(), 0
    while rounds < 2 or time.perf_counter() - began < options.seconds:
        forward()
        rounds += 1
    spent = time.perf_counter() - began
    peak = torch.cuda.max_memory_allocated() >> 20 if device.type == "cuda" else _resident_mib()
    return {
        "model": model,
        "precision": precision,
        "batch": images,
        "images_per_s": rounds * images / spent,
        "peak_mib": peak,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "shares": {} if options.compile else shares(network, forward, device),
    }


def build(model: str) -> nn.Module:
    """Return a model with random weights."""
    torch.manual_seed(0)
    if model.startswith("grounding-dino"):
        from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

        small = _SMALL_GROUNDING_DINO if model in SMALL else {}
        return GroundingDinoForObjectDetection(GroundingDinoConfig(**small))
    from teacher.models.glip import GlipConfig, GlipForGrounding, glip_a, glip_l, glip_t

    if model in SMALL:
        return GlipForGrounding(GlipConfig(**_SMALL_GLIP))
    return GlipForGrounding({"glip-t": glip_t, "glip-a": glip_a, "glip-l": glip_l}[model]())


def random_inputs(images: int, height: int, width: int) -> dict[str, torch.Tensor]:
    """Return inputs of both kinds of model: noise, padded to 32 as GLIP's authors do, and a prompt of random words."""
    generator = torch.Generator().manual_seed(0)
    padded = [-(-side // 32) * 32 for side in (height, width)]
    ids = torch.randint(2000, VOCABULARY, (images, TOKENS), generator=generator)
    ids[:, 0], ids[:, 3:PROMPT_TOKENS:3], ids[:, PROMPT_TOKENS - 1] = 101, 1012, 102
    mask = (torch.arange(TOKENS) < PROMPT_TOKENS).long().expand(images, -1).clone()
    return {
        "pixel_values": torch.randn(images, 3, *padded, generator=generator),
        "pixel_mask": torch.ones(images, *padded, dtype=torch.long),
        "input_ids": ids * mask,
        "attention_mask": mask,
    }


def shares(network: nn.Module, forward: Callable[[], None], device: torch.device) -> dict[str, float]:
    """Return each part's share of one more forward pass. Hooks time the parts, on a GPU with synchronization."""
    spent: dict[str, float] = defaultdict(float)
    began: dict[nn.Module, float] = {}
    taken: list[nn.Module] = []

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def start(module: nn.Module, _inputs: Any) -> None:
        began[module] = now()

    hooks = []
    for name, module in network.named_modules():
        part = _part_of(name)
        if part is None or any(module in set(other.modules()) for other in taken):
            continue
        taken.append(module)

        def stop(module: nn.Module, _inputs: Any, _output: Any, part: str = part) -> None:
            spent[part] += now() - began[module]

        hooks += [module.register_forward_pre_hook(start), module.register_forward_hook(stop)]
    whole = now()
    forward()
    whole = now() - whole
    for hook in hooks:
        hook.remove()
    found = {part: seconds / whole for part, seconds in spent.items()}
    return {**found, "other": 1 - sum(found.values())}


def _part_of(name: str) -> str | None:
    for part, beginnings in PARTS.items():
        if any(
            f"{name}.".startswith(mark if mark.endswith(".") else mark + ".")
            if mark.startswith("model")
            else name.endswith(mark)
            for mark in beginnings
        ):
            return part
    return None


@contextlib.contextmanager
def _precision(name: str, device: torch.device) -> Iterator[None]:
    with torch.autocast(device.type, torch.bfloat16) if name == "bf16" else contextlib.nullcontext():
        yield


def _resident_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def _machine(device: str) -> str:
    name = torch.cuda.get_device_name(0) if device == "cuda" else platform.processor() or platform.machine()
    return f"torch {torch.__version__} on {name}"


def _line(row: dict[str, Any]) -> str:
    head = f"{row['model']:22s} {row['precision']} batch {row['batch']:3d}  "
    if "failed" in row:
        return head + f"failed: {row['failed']}"
    parts = ", ".join(f"{part} {share:.0%}" for part, share in row["shares"].items() if share >= 0.005)
    return head + f"{row['images_per_s']:8.3f} images/s  {row['peak_mib']:6d} MiB  {parts}"


if __name__ == "__main__":
    main()
