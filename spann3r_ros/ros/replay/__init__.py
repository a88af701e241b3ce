"""Playing a bag into a running node and keeping what the node makes of it."""
