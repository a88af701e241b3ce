"""Layers that the networks of the field share."""
