"""A pre-norm transformer encoder over masked tokens.

Letters: B batch, N tokens, W width, H heads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Mix tokens by self-attention, then each by itself (pre-norm: arXiv:2002.04745, fig. 1b; GELU)."""

    def __init__(self, width: int, heads: int, *, mlp_ratio: float = 4.0, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        hidden = int(width * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width), nn.Dropout(dropout))

    def forward(self, tokens: Tensor, allowed: Tensor | None) -> Tensor:
        """[B, N, W] to [B, N, W]; `allowed` [B, 1, 1, N] is True where a token may be looked at, None = everywhere."""
        b, n, w = tokens.shape
        qkv = self.qkv(self.norm_attention(tokens)).view(b, n, 3, self.heads, w // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [B, H, N, W/H]
        mixed = _attend(q, k, v, allowed, self.dropout if self.training else 0.0)
        tokens = tokens + self.out(mixed.transpose(1, 2).reshape(b, n, w))
        changed: Tensor = self.mlp(self.norm_mlp(tokens))
        return tokens + changed


def _attend(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, dropout: float) -> Tensor:
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:
        # torch's bf16 kernel for CPUs takes ten times as long as its fp32 one in the backward pass over short texts
        with torch.autocast("cpu", enabled=False):
            return F.scaled_dot_product_attention(
                q.float(), k.float(), v.float(), attn_mask=allowed, dropout_p=dropout
            ).to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=dropout)


class Transformer(nn.Module):
    """Stack blocks and a final layer norm.

    Args:
        width: W, divisible by `heads`.
        depth: number of blocks; 0 leaves the norm alone.
        heads: H.
        mlp_ratio: hidden width of the per-token network, as a multiple of W.
        dropout: probability, of attention weights and of the per-token network's output.
    """

    def __init__(self, width: int, depth: int, heads: int, *, mlp_ratio: float = 4.0, dropout: float = 0.0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio=mlp_ratio, dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self._start(width, depth)

    def _start(self, width: int, depth: int) -> None:
        """Draw matrices at sqrt(2 / (5 width)), those that write to the residual stream 1/sqrt(2 depth) smaller.

        For a width of 768 that is GPT-2's 0.02; narrow towers need larger numbers to learn at all in a few hundred
        steps (arXiv:1910.05895, section 2.2).
        """
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                scale = (2 * depth) ** -0.5 if name.endswith(("out.weight", "mlp.2.weight")) else 1.0
                nn.init.normal_(parameter, std=scale * (2 / (5 * width)) ** 0.5)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Give contextual tokens.

        Args:
            tokens: [B, N, W]; what stands at masked places (NaN too) has no influence on the real ones.
            mask: True where a token is real, [B, N]; at least one a row. None = all are.

        Returns:
            [B, N, W]; masked places hold numbers without meaning.
        """
        allowed = None
        if mask is not None:
            tokens = torch.where(mask.unsqueeze(-1), tokens, 0.0)  # 0 * NaN is NaN: a zero weight is not enough
            allowed = mask[:, None, None, :]
        for block in self.blocks:
            tokens = block(tokens, allowed)
        normed: Tensor = self.norm(tokens)
        return normed
