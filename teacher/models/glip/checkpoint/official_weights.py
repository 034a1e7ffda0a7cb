"""Convert the authors' tensors to our state dictionary. Every key of theirs is used, or known to be unused.

A learned tensor without a parameter here, a parameter without a tensor, another shape, a number that is not finite or a
structural buffer of another value stop the conversion, with a list of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from schemas.errors import ConfigError, GroundswellError
from teacher.models.glip.anchors import grid_anchors
from teacher.models.glip.checkpoint.official_keys import STRUCTURAL, UnknownKeyError, translate_key
from teacher.models.glip.config import GlipConfig
from teacher.models.glip.configs import glip_a, glip_l, glip_t
from teacher.models.glip.layers.swin import relative_position_index
from teacher.models.glip.modeling import GlipForGrounding

# (channels of the patch embedding, whether the tower fuses) -> variant; B, C and the last GLIP-T have equal shapes
VARIANTS: dict[tuple[int, bool], tuple[str, Callable[[], GlipConfig]]] = {
    (96, False): ("GLIP-T (A)", glip_a),
    (96, True): ("GLIP-T", glip_t),
    (192, True): ("GLIP-L", glip_l),
}
PATCHES = "backbone.body.patch_embed.proj.weight"
FUSION_MARK = ".b_attn."
_LISTED, _LONGEST_NAME = 12, 160


class CheckpointMismatchError(GroundswellError):
    """A checkpoint's tensors are not those of the configuration."""


@dataclass(frozen=True)
class Translation:
    """Our state dictionary, and the keys of the authors that were left out on purpose."""

    state: dict[str, Tensor]
    structural: tuple[str, ...]  # checked against what the configuration gives
    dead: tuple[str, ...]


@dataclass
class _Problems:
    """Lists of keys by what is wrong with them."""

    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, key: str) -> None:
        """Record a key under a kind of problem."""
        self.found.setdefault(kind, []).append(key)

    def raise_if_any(self) -> None:
        """Raise CheckpointMismatchError with all keys by problem."""
        if self.found:
            raise CheckpointMismatchError(
                "the checkpoint is not this GLIP:\n"
                + "\n".join(
                    f"  {kind} ({len(keys)}): {_list_keys(keys)}" for kind, keys in self.found.items()
                )
                + "\nThe variants A, T and L are recognized by their shapes; give --config FILE for other sizes."
            )


def find_variant(official: Mapping[str, Tensor]) -> tuple[str, GlipConfig]:
    """Return name and configuration of the variant with these shapes.

    raises: ConfigError if no variant of the authors has such shapes
    """
    width = official[PATCHES].shape[0] if PATCHES in official else None
    fusion = any(FUSION_MARK in key for key in official)
    if width is None or (width, fusion) not in VARIANTS:
        what = "no patch embedding" if width is None else f"a patch embedding of {width} channels"
        raise ConfigError(
            f"a checkpoint with {what} and {'a' if fusion else 'no'} fusion tower is not GLIP-T (A), GLIP-T or GLIP-L; "
            "give its sizes with --config FILE (JSON, the fields of GlipConfig)"
        )
    name, config = VARIANTS[width, fusion]
    return name, config()


def translate(official: Mapping[str, Tensor], config: GlipConfig) -> Translation:
    """Return our state dictionary.

    raises: CheckpointMismatchError with every key that is missing, unknown, misshapen, not finite or contradictory
    """
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in GlipForGrounding(config).state_dict().items()}
    problems = _Problems()
    state: dict[str, Tensor] = {}
    structural: list[str] = []
    dead: list[str] = []
    for key in sorted(official):
        try:
            ours = translate_key(key, config.fusion)
        except UnknownKeyError:
            problems.add("unknown keys", key)
            continue
        if ours is None:
            (structural if STRUCTURAL.search(key) else dead).append(key)
        elif ours not in shapes or ours in state:
            problems.add("unknown keys", key)
        else:
            state[ours] = _check_learned(key, official[key], shapes[ours], problems)
    for ours in shapes:
        if ours not in state:
            problems.add("missing, by our names", ours)
    for key in structural:
        if not _has_expected_value(key, official[key], config):
            problems.add("structural buffers of another value", key)
    problems.raise_if_any()
    return Translation(state, tuple(structural), tuple(dead))


def _check_learned(key: str, value: Tensor, shape: torch.Size, problems: _Problems) -> Tensor:
    if value.shape != shape:
        problems.add("other shapes", f"{_shorten(key)} {list(value.shape)} instead of {list(shape)}")
        return value
    if not value.is_floating_point():
        problems.add("no floating-point numbers", key)
        return value
    # Before the check, since a float64 may be too large for float32.
    value = value.to(torch.float32)
    if not (value.is_meta or value.isfinite().all()):
        problems.add("not finite in float32", key)
    return value


def _has_expected_value(key: str, value: Tensor, config: GlipConfig) -> bool:
    """Return whether a structural buffer has the value of the configuration. Meta tensors are compared by shape."""
    if key.endswith("relative_position_index"):
        expected = relative_position_index(config.swin_window)
    elif key.endswith("position_ids"):
        expected = torch.arange(config.text_positions)[None]
    else:
        level = int(key.rpartition(".")[2])
        if level >= config.num_levels:
            return False
        anchors = grid_anchors(((1, 1),) * config.num_levels, config.anchor_scale, torch.device("cpu"))
        expected = anchors[level : level + 1]
    return value.shape == expected.shape and (value.is_meta or torch.equal(value, expected.to(value.dtype)))


def _list_keys(keys: list[str]) -> str:
    more = f", and {len(keys) - _LISTED} more" if len(keys) > _LISTED else ""
    return ", ".join(map(_shorten, keys[:_LISTED])) + more


def _shorten(key: str) -> str:
    """Return a key that is safe to print, since a file may contain any name."""
    return key if len(key) <= _LONGEST_NAME and key.isprintable() else repr(key[:_LONGEST_NAME])
