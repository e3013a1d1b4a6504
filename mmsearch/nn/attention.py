"""A pre-norm transformer encoder over masked tokens.

Letters: B batch, N tokens, W width, H heads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmsearch.nn.pooling import zero_masked


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
        return self.change(self.mix(tokens, allowed))

    def mix(self, tokens: Tensor, allowed: Tensor | None) -> Tensor:
        """Add what each token gathers from the others: the first half of `forward`."""
        q, k, v = self._qkv(tokens)
        mixed = attend(q, k, v, allowed, self.dropout if self.training else 0.0)
        gathered: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return tokens + gathered

    def change(self, tokens: Tensor) -> Tensor:
        """Add what the per-token network makes of each: the second half of `forward`."""
        changed: Tensor = self.mlp(self.norm_mlp(tokens))
        return tokens + changed

    def attention(self, tokens: Tensor, allowed: Tensor | None, queries: int) -> Tensor:
        """Give what the first `queries` tokens pay to every one, in each head: [B, H, queries, N]."""
        q, k, _ = self._qkv(tokens)
        return attention_weights(q[:, :, :queries], k, allowed)

    def _qkv(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        b, n, w = tokens.shape
        qkv = self.qkv(self.norm_attention(tokens)).view(b, n, 3, self.heads, w // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [B, H, N, W/H]
        return q, k, v


def attend(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, dropout: float = 0.0) -> Tensor:
    """Mix values by scaled dot products (arXiv:1706.03762, eq. 1).

    Args:
        q: [B, H, Q, D].
        k: [B, H, N, D].
        v: [B, H, N, D].
        allowed: True where a key may be looked at, broadcast to [B, H, Q, N]; None = everywhere.
        dropout: probability, of attention weights.

    Returns:
        [B, H, Q, D]; a query that may look at nothing has no meaning.
    """
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:
        # torch's bf16 kernel for CPUs takes ten times as long as its fp32 one in the backward pass over short texts
        with torch.autocast("cpu", enabled=False):
            return F.scaled_dot_product_attention(
                q.float(), k.float(), v.float(), attn_mask=allowed, dropout_p=dropout
            ).to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=dropout)


def attention_weights(q: Tensor, k: Tensor, allowed: Tensor | None) -> Tensor:
    """Give the weights by which `attend` mixes values: softmax(q k^T / sqrt(D)), in single precision at least.

    Returns:
        [B, H, Q, N]: rows of sum 1, exactly 0 where looking is not allowed. Unlike `attend`, it holds all of them in
        memory.
    """
    with torch.autocast(q.device.type, enabled=False):
        exact = torch.promote_types(q.dtype, torch.float32)
        scores = q.to(exact) @ k.to(exact).transpose(-1, -2) / q.shape[-1] ** 0.5
        if allowed is not None:
            scores = scores.masked_fill(~allowed, -torch.inf)
        weights: Tensor = scores.softmax(-1)
    return weights


def start_residual(module: nn.Module, width: int, depth: int) -> None:
    """Draw matrices at sqrt(2 / (5 width)), those that write to the residual stream 1/sqrt(2 depth) smaller.

    For a width of 768 that is GPT-2's 0.02; narrow towers need larger numbers to learn at all in a few hundred
    steps (arXiv:1910.05895, section 2.2). Biases start at zero. Those that write are told by their names:
    `...out.weight` and `...mlp.2.weight`.
    """
    for name, parameter in module.named_parameters():
        if parameter.dim() == 2:
            scale = (2 * depth) ** -0.5 if name.endswith(("out.weight", "mlp.2.weight")) else 1.0
            nn.init.normal_(parameter, std=scale * (2 / (5 * width)) ** 0.5)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)


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
        start_residual(self, width, depth)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Give contextual tokens.

        Args:
            tokens: [B, N, W]; what stands at masked places (NaN too) has no influence on the real ones.
            mask: True where a token is real, [B, N]; at least one a row. None = all are.

        Returns:
            [B, N, W]; masked places hold numbers without meaning.
        """
        tokens, allowed = _masked(tokens, mask)
        for block in self.blocks:
            tokens = block(tokens, allowed)
        normed: Tensor = self.norm(tokens)
        return normed

    def attention(self, tokens: Tensor, mask: Tensor | None = None, *, queries: int) -> Iterator[Tensor]:
        """Give what the first `queries` tokens pay to every token, layer by layer.

        Args:
            tokens: as for `forward`.
            mask: as for `forward`.
            queries: number of tokens, from the first on.

        Returns:
            of each layer [B, H, queries, N]: rows of sum 1, exactly 0 for masked tokens.
        """
        tokens, allowed = _masked(tokens, mask)
        for block in cast(Iterable[Block], self.blocks):
            yield block.attention(tokens, allowed, queries)
            tokens = block(tokens, allowed)


def _masked(tokens: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Give the tokens without what stands at masked places, and what attention may look at, [B, 1, 1, N]."""
    if mask is None:
        return tokens, None
    return zero_masked(tokens, mask), mask[:, None, None, :]  # 0 * NaN is NaN: a zero weight is not enough
