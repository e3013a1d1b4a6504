"""Text in: one tokenizer and one normalisation for queries and documents, in training and in serving. No torch."""

from mmsearch.text.tokenizer import TextTokens, Tokenizer, TokenizerSettings

__all__ = ["TextTokens", "Tokenizer", "TokenizerSettings"]
