"""From a checkpoint of the GLIP authors to a model directory that works offline.

Promise: the pickle is opened in a child process alone, with `weights_only=True`; the directory appears whole or not
at all, and says in its card which file it came from.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from schemas.errors import ConfigError, ConflictError, GroundswellError, NotFoundError
from teacher.models.glip.checkpoint.official_keys import PROMPT_OFFSETS
from teacher.models.glip.checkpoint.official_weights import Translation, translate, variant_of
from teacher.models.glip.checkpoint.unpickle import AVERAGED, NESTED
from teacher.models.glip.config import GlipConfig
from teacher.models.glip.modeling import GlipForGrounding
from teacher.models.glip.processing import GlipProcessor
from teacher.models.glip.tokenizers.bert import bert_tokenizer
from teacher.models.glip.tuning import prompt_ids

_ROOT = Path(__file__).resolve().parents[4]
# One file for every variant: GLIP-L takes 1.7 GB.
_ONE_FILE = "40GB"


def convert(
    checkpoint: Path,
    to: Path,
    tokenizer: Path | None = None,
    config: Path | None = None,
    ema: bool = False,
    prompt: str | None = None,
) -> dict[str, Any]:
    """Write the directory `to`; returns what was converted.

    tokenizer: directory of bert-base-uncased (vocab.txt or tokenizer.json); None asks the hub for a pinned revision
    config:    JSON with fields of GlipConfig, for sizes that are not the authors'
    ema:       take the trainer's average of the weights instead of the last ones
    prompt:    the prompt that a prompt-tuned checkpoint was tuned for; the file does not say it
    raises:    NotFoundError, ConflictError when `to` exists, ConfigError, CheckpointMismatch, RuntimeEnvironmentError
               without the hub
    """
    if not checkpoint.is_file():
        raise NotFoundError(f"checkpoint {checkpoint}: no such file")
    if to.exists():
        raise ConflictError(f"{to} exists already; name a directory that does not")
    given = None if config is None else _config_of(config)
    with tempfile.TemporaryDirectory(prefix=f".{to.name}.", dir=_made(to.parent)) as room:
        tensors = Path(room) / "official.safetensors"
        offered = _unpack(checkpoint, tensors, AVERAGED if ema else NESTED)
        official = load_file(tensors)
        name, chosen = ("GLIP of another size", given) if given is not None else variant_of(official)
        processor = GlipProcessor(bert_tokenizer(chosen.vocab_size, tokenizer))
        _remember_prompt(chosen, official, processor, prompt)
        translation = translate(official, chosen)
        written = Path(room) / "model"
        _write(written, chosen, translation, processor)
        facts = {
            "variant": name,
            "parameters": sum(value.numel() for value in translation.state.values()),
            "weights": "average (model_ema)" if ema else "last",
            "average_offered": bool(offered["averaged"]),
            "keys": {
                "used": len(translation.state),
                "structural": len(translation.structural),
                "dead": len(translation.dead),
            },
            "source": checkpoint.name,
            "source_sha256": _sha256(checkpoint),
            "model_sha256": _sha256(written / "model.safetensors"),
        }
        (written / "README.md").write_text(_card(facts), encoding="utf-8")
        written.rename(to)
    return {**facts, "to": str(to)}


def _unpack(checkpoint: Path, target: Path, part: str) -> dict[str, Any]:
    """Run `unpickling` in a child that finds its own code, whatever the current directory holds."""
    command = [sys.executable, "-P", "-m", "teacher.models.glip.checkpoint.unpickle"]
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    child = subprocess.run(
        [*command, str(checkpoint.resolve()), str(target), part],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        answer = json.loads(child.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise GroundswellError(
            f"{checkpoint}: the process that reads it ended with code {child.returncode}: {child.stderr[-500:]}"
        ) from None
    if "error" in answer:
        raise GroundswellError(f"{checkpoint}: not a checkpoint of weights alone: {answer['error']}")
    return dict(answer)


def _config_of(path: Path) -> GlipConfig:
    if not path.is_file():
        raise NotFoundError(f"--config {path}: no such file")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"--config is no JSON: {error}", where=str(path)) from error
    known = GlipConfig().to_dict()
    if not isinstance(fields, dict) or (unknown := sorted(set(fields) - set(known))):
        named = f" {unknown}" if isinstance(fields, dict) else ""
        raise ConfigError(f"--config: expected an object of GlipConfig's fields, not{named}", where=str(path))
    try:
        return GlipConfig(**fields)
    except ValueError as error:
        raise ConfigError(str(error), where=str(path)) from error


def _remember_prompt(
    config: GlipConfig, official: Mapping[str, Tensor], processor: GlipProcessor, prompt: str | None
) -> None:
    """A prompt-tuned checkpoint answers one prompt; raises ConfigError where it is not named, or named in vain."""
    if (PROMPT_OFFSETS in official) != (prompt is not None):
        what = "holds" if prompt is None else "holds no"
        raise ConfigError(
            f"the checkpoint {what} offsets of prompt tuning: --prompt TEXT names the prompt they belong to"
        )
    if prompt is not None:
        config.tuned_prompt, config.tuned_prompt_ids = prompt, prompt_ids(processor, prompt)
        config.prompt_offset_tokens = len(official[PROMPT_OFFSETS])


def _write(folder: Path, config: GlipConfig, translation: Translation, processor: GlipProcessor) -> None:
    with torch.device("meta"):
        model = GlipForGrounding(config)
    model.load_state_dict(translation.state, assign=True)
    model.save_pretrained(folder, max_shard_size=_ONE_FILE)
    processor.save_pretrained(folder)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _card(facts: dict[str, Any]) -> str:
    keys = facts["keys"]
    return f"""---
library_name: transformers
pipeline_tag: zero-shot-object-detection
---
# {facts["variant"]}, converted by Groundswell

GLIP (Li et al., arXiv 2112.03857), {facts["parameters"]:,} parameters, the authors' weights in safetensors.

- source: `{facts["source"]}`, sha256 `{facts["source_sha256"]}`
- weights taken: {facts["weights"]}; sha256 `{facts["model_sha256"]}`
- {keys["used"]} tensors used, {keys["structural"]} structural buffers checked, {keys["dead"]} unread ones left out
- text vocabulary: bert-base-uncased, saved beside the weights

## Licence
The authors' code (github.com/microsoft/GLIP) is under the MIT licence. Their weights were trained on data sets with
terms of their own (Objects365, Flickr30k, Visual Genome, COCO and others); read those before you pass these weights on.
bert-base-uncased is under the Apache licence 2.0.
"""
