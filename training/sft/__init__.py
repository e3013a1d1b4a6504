"""Fine-tuning a causal language model to pick key sentences: LoRA, and a merged model to serve."""
