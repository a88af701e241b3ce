"""Playing a bag into a running node, and recording its results."""
