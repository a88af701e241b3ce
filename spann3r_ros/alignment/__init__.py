"""Photographs whose order means nothing, aligned all together from the answers about their pairs."""
