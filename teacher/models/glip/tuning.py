"""Choose which part of a GLIP is trained: all, the linear heads, an offset to one prompt, or the text encoder.

Other parts do not change at all, running averages and random layers included. Source of the four modes: GLIP,
arXiv 2112.03857, section 4.3, and the authors' SOLVER.TUNING_HIGHLEVEL_OVERRIDE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from schemas.errors import ConfigError
from teacher.models.glip.layers.prompt_offset import PromptOffset
from teacher.models.glip.modeling import GlipForGrounding
from teacher.models.glip.processing import GlipProcessor

TuningMode = Literal["full", "linear", "prompt", "language"]
# Name prefixes of the parameters that are trained.
LEARNS: dict[TuningMode, tuple[str, ...]] = {
    "full": ("",),
    # The authors' list: not the box scales of the levels.
    "linear": ("alignment.", "box_head.box.", "box_head.centerness."),
    "prompt": ("model.prompt_offset.",),
    "language": ("model.text_encoder.",),
}


@dataclass(frozen=True)
class Tuning:
    """How many of a model's parameters are trained."""

    mode: TuningMode
    learned: int
    total: int

    def __str__(self) -> str:
        return f"tuning {self.mode}: {self.learned:,} of {self.total:,} parameters learn"


def tune(model: GlipForGrounding, mode: TuningMode) -> Tuning:
    """Freeze the parts that `mode` does not train, and put the others into training mode.

    raises: ConfigError for prompt tuning of a model without offsets; `add_prompt_offset` adds them
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(LEARNS[mode]))
    learned = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    if not learned:
        raise ConfigError(
            f"tuning {mode}: no parameter would be trained, since the model has no prompt offset; add one first"
        )
    model.train()
    for module in model.modules():
        if _is_frozen(module):
            # Dropouts inside stay off, and no running average moves.
            module.eval()
    return Tuning(mode, learned, sum(parameter.numel() for parameter in model.parameters()))


def add_prompt_offset(model: GlipForGrounding, processor: GlipProcessor, prompt: str) -> None:
    """Give a model offsets of zero for `prompt`, and write the prompt into its configuration.

    Offsets for the same prompt are left as they are.
    raises: ConfigError for offsets of another prompt, or a prompt that does not fit
    """
    config = model.config
    if config.tuned_prompt is not None:
        if config.tuned_prompt != prompt:
            raise ConfigError(
                f"the model is tuned for the prompt {config.tuned_prompt!r}, not for {prompt!r}; use that prompt, or "
                "begin with a model that is not tuned"
            )
        return
    config.tuned_prompt, config.tuned_prompt_ids = prompt, encode_prompt(processor, prompt)
    config.prompt_offset_tokens = min(processor.max_tokens, config.text_positions)
    model.model.prompt_offset = PromptOffset(config).to(model.alignment.bias)


def encode_prompt(processor: GlipProcessor, prompt: str) -> tuple[int, ...]:
    """Return the prompt's token ids with the special ones. Raises ConfigError if they do not fit."""
    ids = processor.tokenizer(prompt, truncation=False, verbose=False)["input_ids"]
    if len(ids) > processor.max_tokens:
        raise ConfigError(
            f"the prompt has {len(ids)} tokens, the model takes {processor.max_tokens}; shorten it"
        )
    return tuple(ids)


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)
