"""What moves the parameters: plain PyTorch in one or many processes, or DeepSpeed."""
