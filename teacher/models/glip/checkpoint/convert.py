"""Convert a checkpoint of the GLIP authors to a model directory that works offline.

Only a child process opens the pickle, with `weights_only=True`. The directory appears whole or not at all, and its card
names the source file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import torch
from pydantic import JsonValue
from safetensors.torch import load_file
from torch import Tensor

from schemas.digests import file_sha256
from schemas.errors import ConfigError, ConflictError, GroundswellError, NotFoundError
from teacher.models.foreign_files import describe_foreign_file
from teacher.models.glip.checkpoint import unpickle
from teacher.models.glip.checkpoint.official_keys import PROMPT_OFFSETS
from teacher.models.glip.checkpoint.official_weights import Translation, find_variant, translate
from teacher.models.glip.checkpoint.portable_code import write_code
from teacher.models.glip.config import GlipConfig
from teacher.models.glip.modeling import GlipForGrounding
from teacher.models.glip.processing import GlipProcessor
from teacher.models.glip.tokenizers.bert import load_bert_tokenizer
from teacher.models.glip.tuning import encode_prompt
from teacher.models.weight_files import WEIGHTS

_ROOT = Path(__file__).resolve().parents[len(__name__.split(".")) - 1]
# One file for every variant. GLIP-L has 1.7 GB.
_ONE_FILE = "40GB"


class KeyCounts(TypedDict):
    """How many of a checkpoint's keys were used, checked and left out."""

    used: int
    structural: int
    dead: int


class Conversion(TypedDict):
    """What was converted."""

    variant: str
    parameters: int
    weights: str
    average_offered: bool
    keys: KeyCounts
    source: str
    source_sha256: str
    model_sha256: str
    to: str


def convert(
    checkpoint: Path,
    to: Path,
    tokenizer: Path | None = None,
    config: Path | None = None,
    ema: bool = False,
    prompt: str | None = None,
) -> Conversion:
    """Write the directory `to`. Return what was converted.

    tokenizer: directory of bert-base-uncased (vocab.txt or tokenizer.json); None asks the hub for a pinned revision
    config:    JSON with fields of GlipConfig, for sizes that are not the authors'
    ema:       take the trainer's average of the weights instead of the last ones
    prompt:    the prompt that a prompt-tuned checkpoint was tuned for, which the file does not contain
    raises:    NotFoundError, ConflictError if `to` exists, ConfigError, CheckpointMismatchError,
               RuntimeEnvironmentError if the hub cannot be reached
    """
    if not checkpoint.is_file():
        raise NotFoundError(f"checkpoint {checkpoint} does not exist; give the path of a .pth file")
    if to.exists():
        raise ConflictError(f"{to} exists already; name a directory that does not")
    given = None if config is None else _read_config(config)
    with tempfile.TemporaryDirectory(prefix=f".{to.name}.", dir=_make_folder(to.parent)) as folder:
        tensors = Path(folder) / "official.safetensors"
        offered = _unpack(checkpoint, tensors, unpickle.AVERAGED if ema else unpickle.NESTED)
        official = load_file(tensors)
        name, chosen = ("GLIP of another size", given) if given is not None else find_variant(official)
        processor = GlipProcessor(load_bert_tokenizer(chosen.vocab_size, tokenizer))
        _set_prompt(chosen, official, processor, prompt)
        translation = translate(official, chosen)
        written = Path(folder) / "model"
        _write(written, chosen, translation, processor)
        facts: Conversion = {
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
            "source_sha256": file_sha256(checkpoint),
            "model_sha256": file_sha256(written / WEIGHTS),
            "to": str(to),
        }
        (written / "README.md").write_text(_make_card(facts), encoding="utf-8")
        written.rename(to)
    return facts


def _unpack(checkpoint: Path, target: Path, part: str) -> dict[str, JsonValue]:
    """Run `unpickle` in a child process that imports our code, whatever the current directory contains."""
    if (foreign := describe_foreign_file(checkpoint)) is not None:
        raise ConfigError(f"{checkpoint}: not a checkpoint of weights alone: it {foreign}")
    command = [sys.executable, "-P", "-m", unpickle.__name__]
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
            f"{checkpoint}: the process that reads it ended with code {child.returncode}: {child.stderr[-500:]}; copy "
            "the file again, and check that memory suffices for it"
        ) from None
    if "error" in answer:
        raise GroundswellError(
            f"{checkpoint}: not a checkpoint of weights alone ({answer['error']}); give a .pth file of the authors, or "
            "copy it again"
        )
    return dict(answer)


def _read_config(path: Path) -> GlipConfig:
    if not path.is_file():
        raise NotFoundError(f"--config {path} does not exist; give a JSON file with fields of GlipConfig")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"--config is not JSON: {error}", where=str(path)) from error
    known = GlipConfig().to_dict()
    if not isinstance(fields, dict) or (unknown := sorted(set(fields) - set(known))):
        found = unknown if isinstance(fields, dict) else f"a JSON {type(fields).__name__}"
        raise ConfigError(
            f"--config: expected an object of GlipConfig's fields, not {found}", where=str(path)
        )
    try:
        return GlipConfig(**fields)
    except ValueError as error:
        raise ConfigError(str(error), where=str(path)) from error


def _set_prompt(
    config: GlipConfig, official: Mapping[str, Tensor], processor: GlipProcessor, prompt: str | None
) -> None:
    """Write the prompt of a prompt-tuned checkpoint into the configuration.

    Raises ConfigError if it is not named, or named for a checkpoint without offsets.
    """
    if (PROMPT_OFFSETS in official) != (prompt is not None):
        what, remedy = ("has", "give --prompt TEXT, the prompt they belong to")
        if prompt is not None:
            what, remedy = ("has no", "leave --prompt out")
        raise ConfigError(f"the checkpoint {what} offsets of prompt tuning; {remedy}")
    if prompt is not None:
        config.tuned_prompt, config.tuned_prompt_ids = prompt, encode_prompt(processor, prompt)
        config.prompt_offset_tokens = len(official[PROMPT_OFFSETS])


def _write(folder: Path, config: GlipConfig, translation: Translation, processor: GlipProcessor) -> None:
    with torch.device("meta"):
        model = GlipForGrounding(config)
    model.load_state_dict(translation.state, assign=True)
    model.save_pretrained(folder, max_shard_size=_ONE_FILE)
    processor.save_pretrained(folder)
    write_code(folder)


def _make_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _make_card(facts: Conversion) -> str:
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
