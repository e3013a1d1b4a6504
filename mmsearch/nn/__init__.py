"""Building blocks of the towers."""

from mmsearch.nn.attention import Transformer
from mmsearch.nn.pooling import masked_mean, zero_masked

__all__ = ["Transformer", "masked_mean", "zero_masked"]
