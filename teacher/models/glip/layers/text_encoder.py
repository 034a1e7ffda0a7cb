"""BERT's encoder: the text backbone, and the single layer after each fusion in the tower.

Post-norm layers, learned positions, exact GELU. transformers' BERT is not used, since the tower needs one layer alone,
with every weight. Source: BERT, arXiv 1810.04805.
"""

# B images, T tokens, D text width
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from teacher.models.glip.config import GlipConfig
from teacher.models.glip.layers.activation_checkpointing import run_checkpointed


def padding_bias(attention_mask_BT: Tensor, dtype: torch.dtype) -> Tensor:
    """Return [B, 1, 1, T] to add to attention logits: 0 at tokens, the most negative number at padding.

    A row without any token averages all positions and never gives NaN, so blank rows of a batch are harmless.
    """
    padding = attention_mask_BT[:, None, None, :] == 0
    bias = torch.zeros(padding.shape, dtype=dtype, device=padding.device)
    return bias.masked_fill_(padding, torch.finfo(dtype).min)


class TextLayer(nn.Module):
    """One BERT layer: self-attention over the tokens that are not padding, then the feed-forward network."""

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        width, eps = config.text_hidden, config.text_norm_eps
        self.heads, self.dropout = config.text_heads, config.text_dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.attention_output = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=eps)
        self.intermediate = nn.Linear(width, config.text_intermediate)
        self.output = nn.Linear(config.text_intermediate, width)
        self.output_norm = nn.LayerNorm(width, eps=eps)

    def forward(self, hidden_BTD: Tensor, bias_B11T: Tensor) -> Tensor:
        attended = self.attention_output(self._attend(hidden_BTD, bias_B11T))
        hidden = self.attention_norm(hidden_BTD + self._drop(attended))
        output: Tensor = self.output_norm(hidden + self._drop(self.output(F.gelu(self.intermediate(hidden)))))
        return output

    def _attend(self, hidden_BTD: Tensor, bias_B11T: Tensor) -> Tensor:
        query, key, value = (self._split(layer(hidden_BTD)) for layer in (self.query, self.key, self.value))
        rate = self.dropout if self.training else 0.0
        bias = bias_B11T.to(query.dtype).expand(-1, 1, query.shape[2], -1)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=rate)
        return mixed.transpose(1, 2).flatten(2)

    def _split(self, x_BTD: Tensor) -> Tensor:
        # [B, T, D] -> [B, heads, T, D / heads]
        parts: Tensor = x_BTD.unflatten(2, (self.heads, -1))
        return parts.transpose(1, 2)

    def _drop(self, x: Tensor) -> Tensor:
        # F.dropout at rate 0 still draws a mask.
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class TextEncoder(nn.Module):
    """Token ids -> last layer's features. Padding is computed like any token, as the fusion expects."""

    gradient_checkpointing = False

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        width = config.text_hidden
        self.words = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.positions = nn.Embedding(config.text_positions, width)
        # Every token is of BERT's first segment. The second row exists because the released weights have it.
        self.segments = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=config.text_norm_eps)
        self.dropout = nn.Dropout(config.text_dropout)
        self.layers = nn.ModuleList(TextLayer(config) for _ in range(config.text_layers))

    def forward(self, input_ids_BT: Tensor, attention_mask_BT: Tensor) -> Tensor:
        width = input_ids_BT.shape[1]
        if width > self.positions.num_embeddings:
            # may become the detail of a rejected sample, which is stored, so the text must not change
            raise ValueError(
                f"a prompt of {width} tokens, but the text encoder knows {self.positions.num_embeddings} positions: "
                "split the prompt at phrase borders"
            )
        embedded = self.words(input_ids_BT) + self.segments.weight[0] + self.positions.weight[:width]
        hidden: Tensor = self.dropout(self.norm(embedded))
        bias = padding_bias(attention_mask_BT, hidden.dtype)
        for layer in self.layers:
            hidden = run_checkpointed(self, layer, hidden, bias)
        return hidden
