"""What a model remembers between frames, as values that the caller owns."""
