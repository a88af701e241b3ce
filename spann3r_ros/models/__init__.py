"""The networks, and how each of them consumes a stream of frames."""
