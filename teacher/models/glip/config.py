"""The configuration of a GLIP model. Every default is the authors' GLIP-T. The other variants are in `configs`.

Source: the configuration files of microsoft/GLIP at 9dda955.
"""

from __future__ import annotations

from typing import Literal

from transformers import PretrainedConfig

# The authors clamp the logits of attention and alignment here. Attention reaches it only in half precision.
LOGIT_LIMIT = 50000.0


class GlipConfig(PretrainedConfig):
    """Configuration of `GlipModel` and `GlipForGrounding`. Raises ValueError for a combination that cannot be built."""

    model_type = "glip"

    # ---- image backbone: three maps at strides 8, 16 and 32
    backbone: Literal["swin", "conv"] = "swin"
    swin_embed_dim: int = 96
    swin_depths: tuple[int, ...] | list[int] = (2, 2, 6, 2)
    swin_heads: tuple[int, ...] | list[int] = (3, 6, 12, 24)
    swin_window: int = 7
    swin_mlp_ratio: float = 4.0
    drop_path_rate: float = 0.2
    conv_stem_widths: tuple[int, ...] | list[int] = (16, 32)
    conv_widths: tuple[int, ...] | list[int] = (64, 96, 128)
    conv_depths: tuple[int, ...] | list[int] = (1, 1, 1)
    conv_norm: Literal["batch", "group"] = "batch"

    # ---- pyramid: the three backbone levels and, beyond them, stride-2 convolutions on the top one
    channels: int = 256
    num_levels: int = 5
    dropblock_rate: float = 0.3
    dropblock_size: int = 3

    # ---- text encoder (BERT)
    vocab_size: int = 30522
    text_hidden: int = 768
    text_layers: int = 12
    text_heads: int = 12
    text_intermediate: int = 3072
    text_positions: int = 512
    text_dropout: float = 0.1
    text_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    # Prompt tuning: number of learned offsets, one per token of a prompt, and that prompt as text and as token ids.
    prompt_offset_tokens: int = 0
    tuned_prompt: str | None = None
    tuned_prompt_ids: tuple[int, ...] | list[int] = ()

    # ---- tower: num_blocks x [fusion, text layer, dynamic convolution]
    num_blocks: int = 6
    fusion: bool = True
    fusion_width: int = 2048
    fusion_heads: int = 8
    fusion_dropout: float = 0.1
    # Start of the residual gates; None is one over the number of blocks.
    fusion_gate_init: float | None = None
    tower_conv: Literal["deformable", "plain"] = "deformable"
    # The authors' operator reads the finer level's offsets as flat memory on the coarser map. All released weights
    # were trained that way. False resizes the offsets instead, as one would expect, and does not fit those weights.
    flat_offset_read: bool = True
    tower_norm_groups: int = 16
    # Add a block's input to its output. The authors' blocks do not, which works with pretrained features.
    tower_residual: bool = False
    dyrelu: bool = True
    dyrelu_reduction: int = 4

    # ---- heads
    # "input": half the L2-normalized text feature is projected (authors); "output": the projection is normalized;
    # "none": neither.
    text_projection_norm: Literal["input", "output", "none"] = "input"
    image_projection: Literal["identity", "linear"] = "identity"
    image_projection_std: float = 0.01
    log_scale_init: float = 0.0
    prior_probability: float = 0.01
    # Side of the one square anchor of a location, in strides of its level.
    anchor_scale: float = 8.0

    # ---- training
    assigner_top_k: int = 9
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    # The token that background anchors are trained towards where a caption is long enough to own it (authors: the
    # last of 256, normally padding and thus out of the loss); None is no such token.
    no_object_token: int | None = 255
    token_loss_weight: float = 1.0
    box_loss_weight: float = 2.0
    centerness_loss_weight: float = 1.0
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: object) -> None:
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]
        # JSON has only lists. With tuples, a loaded configuration equals the saved one.
        lists = ("swin_depths", "swin_heads", "conv_stem_widths", "conv_widths", "conv_depths")
        for name in (*lists, "tuned_prompt_ids"):
            setattr(self, name, tuple(getattr(self, name)))
        self._check()

    @property
    def strides(self) -> tuple[int, ...]:
        """Return the stride of each pyramid level in input pixels: 8, 16, 32, ..."""
        return tuple(8 * 2**level for level in range(self.num_levels))

    @property
    def level_channels(self) -> tuple[int, int, int]:
        """Return the channels of the backbone's maps at strides 8, 16 and 32."""
        if self.backbone == "swin":
            return (2 * self.swin_embed_dim, 4 * self.swin_embed_dim, 8 * self.swin_embed_dim)
        first, second, third = self.conv_widths
        return (first, second, third)

    def _check(self) -> None:
        multiples = {
            "text_hidden / text_heads": (self.text_hidden, self.text_heads),
            "fusion_width / fusion_heads": (self.fusion_width, self.fusion_heads),
            "channels / tower_norm_groups": (self.channels, self.tower_norm_groups),
        }
        for name, (whole, part) in multiples.items():
            if whole % part:
                raise ValueError(f"{name}: {whole} is not a multiple of {part}; change one of the two")
        if not 3 <= self.num_levels <= 7:
            raise ValueError(f"num_levels is {self.num_levels}, expected 3 (the backbone's own) to 7")
        if len(self.swin_depths) != 4 or len(self.swin_heads) != 4:
            raise ValueError(
                f"swin_depths {self.swin_depths} and swin_heads {self.swin_heads}: expected 4 stages each"
            )
        if len(self.conv_widths) != 3 or len(self.conv_depths) != 3 or len(self.conv_stem_widths) != 2:
            raise ValueError(
                "conv_widths and conv_depths take 3 numbers (strides 8, 16, 32), conv_stem_widths 2"
            )
        if bool(self.prompt_offset_tokens) != (
            self.tuned_prompt is not None and len(self.tuned_prompt_ids) > 0
        ):
            raise ValueError(
                "prompt_offset_tokens, tuned_prompt and tuned_prompt_ids belong together: all or none of them"
            )
        if not 0 < self.prior_probability < 1:
            raise ValueError(
                f"prior_probability is {self.prior_probability}, expected a number between 0 and 1"
            )
