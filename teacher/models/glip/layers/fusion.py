"""Deep fusion of image and text: one bidirectional cross-attention over all levels together.

The released weights depend on two properties: the residual is added to the *normalized* inputs, and the text attends
to every location without a mask, padding of the image included. Source: GLIP, arXiv 2112.03857, section 3.2.
"""

# B images, N locations of all levels, T tokens, C image width, D text width, h heads
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from teacher.models.glip.config import LOGIT_LIMIT, GlipConfig


class Fusion(nn.Module):
    """Cross-attention of image and text with one shared similarity. Gates keep the start near identity."""

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        image, text, width = config.channels, config.text_hidden, config.fusion_width
        self.heads, self.dropout = config.fusion_heads, config.fusion_dropout
        self.scale = (width // config.fusion_heads) ** -0.5
        self.gate_init = 1 / config.num_blocks if config.fusion_gate_init is None else config.fusion_gate_init
        self.image_norm = nn.LayerNorm(image)
        self.text_norm = nn.LayerNorm(text)
        self.image_query = nn.Linear(image, width)
        self.text_key = nn.Linear(text, width)
        self.image_value = nn.Linear(image, width)
        self.text_value = nn.Linear(text, width)
        self.image_output = nn.Linear(width, image)
        self.text_output = nn.Linear(width, text)
        self.image_gate = nn.Parameter(torch.full((image,), self.gate_init))
        self.text_gate = nn.Parameter(torch.full((text,), self.gate_init))

    def forward(self, image_BNC: Tensor, text_BTD: Tensor, bias_B11T: Tensor) -> tuple[Tensor, Tensor]:
        """Return both streams with unchanged shapes. bias_B11T: see `text_encoder.padding_bias`."""
        image, text = self.image_norm(image_BNC), self.text_norm(text_BTD)
        query = self._split(self.image_query(image) * self.scale)
        logits_BhNT = (query @ self._split(self.text_key(text)).transpose(2, 3)).clamp(
            -LOGIT_LIMIT, LOGIT_LIMIT
        )
        from_text = self._weights(logits_BhNT + bias_B11T) @ self._split(self.text_value(text))
        from_image = self._weights(logits_BhNT.transpose(2, 3)) @ self._split(self.image_value(image))
        image = image + self.image_gate * self.image_output(self._join(from_text))
        text = text + self.text_gate * self.text_output(self._join(from_image))
        return image, text

    def _weights(self, logits: Tensor) -> Tensor:
        weights = logits.softmax(dim=-1)
        # F.dropout at rate 0 still draws a mask.
        return F.dropout(weights, self.dropout, self.training) if self.dropout else weights

    def _split(self, x_BLE: Tensor) -> Tensor:
        # [B, L, width] -> [B, heads, L, width / heads]
        parts: Tensor = x_BLE.unflatten(2, (self.heads, -1))
        return parts.transpose(1, 2)

    def _join(self, x_BhLE: Tensor) -> Tensor:
        return x_BhLE.transpose(1, 2).flatten(2)
