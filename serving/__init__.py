"""Programs that serve a trained model: refresh embeds a corpus and publishes a forward index."""
