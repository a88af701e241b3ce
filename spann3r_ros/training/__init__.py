"""Losses, data and the trainer."""
