"""A family of networks as its folder would lie in models/: it sees a plane whose distance is one learned number."""
