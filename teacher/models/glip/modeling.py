"""The GLIP model as transformers models: `GlipModel` (features) and `GlipForGrounding` (scores, boxes, losses).

Outputs are float32 under autocast, otherwise of the input's dtype. Only the pixels, the tokens and their mask enter
the forward pass.
"""

# B images, N locations of all levels, T tokens, C image width, D text width
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init

from schemas.errors import ConfigError
from teacher.models.glip.anchors import grid_anchors
from teacher.models.glip.config import GlipConfig
from teacher.models.glip.layers.activation_checkpointing import run_checkpointed
from teacher.models.glip.layers.conv_backbone import ConvBackbone
from teacher.models.glip.layers.deform_conv import DeformConv
from teacher.models.glip.layers.dyhead import DynamicConv
from teacher.models.glip.layers.fpn import FeaturePyramid
from teacher.models.glip.layers.fusion import Fusion
from teacher.models.glip.layers.heads import BoxHead, TokenAlignment, flatten_levels, split_levels
from teacher.models.glip.layers.prompt_offset import PromptOffset
from teacher.models.glip.layers.swin import RelativePositionBias, Swin
from teacher.models.glip.layers.text_encoder import TextEncoder, TextLayer, padding_bias
from teacher.models.glip.losses import ImageLabels, compute_losses
from teacher.models.glip.outputs import GlipGroundingOutput, GlipModelOutput


def _check_complete(folder: str, facts: Mapping[str, Iterable[object]], is_whole: bool) -> None:
    """Raise ConfigError unless the loaded weights are exactly the model's, in its shapes."""
    names = ("missing", "mismatched", "unexpected") if is_whole else ("missing", "mismatched")
    wrong = {name: sorted(str(key) for key in facts[f"{name}_keys"]) for name in names}
    problems = [f"{len(keys)} {name} (e.g. {keys[0]})" for name, keys in wrong.items() if keys]
    if problems:
        raise ConfigError(
            f"{folder}: its weights are not those of its config.json: {', '.join(problems)}; copy both files again"
        )


class GlipPreTrainedModel(PreTrainedModel):
    """Initial values and names that the GLIP classes share."""

    config: GlipConfig
    config_class = GlipConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    input_modalities = ["image", "text"]
    # Switched by `activation_checkpointing_enable()`. Each block of backbone, text and tower is recomputed.
    supports_gradient_checkpointing = True
    # False: a part, which may be loaded from a whole model's directory.
    is_whole = False

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load as transformers does, then copy every tensor into its own memory.

        Loaded tensors are views of the mapped file at an address that depends on the header's length. Unaligned
        memory uses other kernels, which round differently (5e-7 in the logits), and replacing the file on disk would
        change a model in use. Raises ConfigError for weights that cannot be read or do not match the configuration,
        for which transformers would use random ones.
        """
        kwargs["use_safetensors"] = True  # the other form of weights is a pickle
        folder = args[0] if args else kwargs.get("pretrained_model_name_or_path")
        with_facts = kwargs.pop("output_loading_info", False)
        try:
            # Wrong shapes are reported with the rest below, not by an error of transformers.
            kwargs |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
            # With `output_loading_info`, transformers returns a pair, which its annotation leaves out.
            loaded: Any = super().from_pretrained(*args, **kwargs)
            model, facts = loaded
        except SafetensorError as error:
            raise ConfigError(
                f"{folder}: its weights cannot be read ({error}); the file was cut short or is not a safetensors file; "
                "copy it again"
            ) from error
        _check_complete(str(folder), facts, cls.is_whole)
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.data = tensor.data.clone()
        return (model, facts) if with_facts else model

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d | DeformConv):
            init.kaiming_uniform_(module.weight, a=1)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, Fusion):
            init.constant_(module.image_gate, module.gate_init)
            init.constant_(module.text_gate, module.gate_init)
        elif isinstance(module, TokenAlignment):
            self._init_alignment(module)
        elif isinstance(module, BoxHead):
            for conv in (module.box, module.centerness):
                init.normal_(conv.weight, std=0.01)
            for scale in module.level_scales:
                init.ones_(scale)
        elif isinstance(module, DynamicConv) and module.offset is not None:
            init.normal_(module.offset.weight, std=0.01)
        elif isinstance(module, PromptOffset):
            init.zeros_(module.table)
        elif isinstance(module, RelativePositionBias):
            init.trunc_normal_(module.table, std=0.02)
        else:
            super()._init_weights(module)  # type: ignore[no-untyped-call]

    def _init_alignment(self, module: TokenAlignment) -> None:
        init.constant_(module.log_scale, self.config.log_scale_init)
        init.constant_(module.bias, module.prior_logit)
        init.zeros_(module.text_bias)
        if isinstance(module.image_projection, nn.Linear):
            init.normal_(module.image_projection.weight, std=self.config.image_projection_std)


class Block(nn.Module):
    """One block of the tower: fusion and a text layer if the model fuses, then the dynamic convolution."""

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        self.fusion = Fusion(config) if config.fusion else None
        self.text_layer = TextLayer(config) if config.fusion else None
        self.dynamic_conv = DynamicConv(config)

    def forward(
        self, levels: list[Tensor], text_BTD: Tensor, bias_B11T: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        if self.fusion is not None and self.text_layer is not None:
            shapes = [(level.shape[2], level.shape[3]) for level in levels]
            flat, text_BTD = self.fusion(flatten_levels(levels), text_BTD, bias_B11T)
            levels = split_levels(flat, shapes)
            text_BTD = self.text_layer(text_BTD, bias_B11T)
        return self.dynamic_conv(levels), text_BTD


class GlipModel(GlipPreTrainedModel):
    """Image and text to fused features, without heads."""

    gradient_checkpointing = False

    def __init__(self, config: GlipConfig) -> None:
        super().__init__(config)
        self.backbone = Swin(config) if config.backbone == "swin" else ConvBackbone(config)
        self.fpn = FeaturePyramid(config)
        self.text_encoder = TextEncoder(config)
        self.prompt_offset = PromptOffset(config) if config.prompt_offset_tokens else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_blocks))
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor, **kwargs: object
    ) -> GlipModelOutput:
        """Return features of pixel_values [B, 3, H, W], input_ids and attention_mask [B, T]. No image mask is used."""
        levels = self.fpn(self.backbone(pixel_values))
        text = self.text_encoder(input_ids, attention_mask)
        if not self.config.fusion:
            # Without a tower for the text, the authors set its padding to zero.
            text = text * attention_mask[:, :, None].to(text.dtype)
        if self.prompt_offset is not None:
            text = self.prompt_offset(text, input_ids, attention_mask)
        bias = padding_bias(attention_mask, text.dtype)
        for block in self.blocks:
            levels, text = run_checkpointed(self, block, levels, text, bias)
        return GlipModelOutput(levels=tuple(levels), text=text)


class GlipForGrounding(GlipPreTrainedModel):
    """GLIP with its heads: the alignment of each location with each token, and its box."""

    is_whole = True

    def __init__(self, config: GlipConfig) -> None:
        super().__init__(config)
        self.model = GlipModel(config)
        self.alignment = TokenAlignment(config)
        self.box_head = BoxHead(config)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self,
        pixel_values: Tensor,
        pixel_mask: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: list[ImageLabels] | None = None,
        counts: Tensor | None = None,
        **kwargs: object,
    ) -> GlipGroundingOutput:
        """Score every location against every token. With labels, compute the losses too.

        pixel_values:   [B, 3, H, W], normalized and padded
        pixel_mask:     [B, H, W]; for later steps, which clip boxes by it. The network reads the padding.
        input_ids:      [B, T]; attention_mask: [B, T]
        counts:         what the losses are divided by if these images are part of a step; see `compute_losses`
        raises:         ValueError if the text is missing, or the numbers of texts and images differ
        """
        if input_ids is None or attention_mask is None:
            raise ValueError(
                "GLIP needs input_ids and attention_mask besides pixel_values; give the processor's whole output"
            )
        # Broadcasting would otherwise use one text for all images, or one image for all texts, without an error.
        if len(pixel_values) != len(input_ids) or input_ids.shape != attention_mask.shape:
            raise ValueError(
                f"{len(pixel_values)} images, input_ids {list(input_ids.shape)}, attention_mask "
                f"{list(attention_mask.shape)}; each image needs its own row of both"
            )
        features = self.model(pixel_values, input_ids, attention_mask)
        with torch.autocast(pixel_values.device.type, enabled=False):
            outputs = self._heads(features, pixel_values.device)
            if labels is not None:
                outputs.loss_dict = compute_losses(outputs, attention_mask, labels, self.config, counts)
                outputs.loss = cast(Tensor, sum(outputs.loss_dict.values()))
        return outputs

    def _heads(self, features: GlipModelOutput, device: torch.device) -> GlipGroundingOutput:
        dtype = self.alignment.bias.dtype  # autocast leaves parameters alone: float32 under it
        levels = [level.to(dtype) for level in features.levels]
        shapes = tuple((level.shape[2], level.shape[3]) for level in levels)
        deltas, centerness = self.box_head(levels)
        return GlipGroundingOutput(
            token_logits=self.alignment(flatten_levels(levels), features.text.to(dtype)),
            box_deltas=deltas,
            centerness_logits=centerness,
            anchors=grid_anchors(shapes, self.config.anchor_scale, device).to(dtype),
            level_shapes=shapes,
        )
