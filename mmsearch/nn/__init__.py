"""Building blocks of the towers."""

from mmsearch.nn.attention import Block, Transformer, attend, attention_weights, start_residual
from mmsearch.nn.pooling import masked_mean, zero_masked

__all__ = ["Block", "Transformer", "attend", "attention_weights", "masked_mean", "start_residual", "zero_masked"]
