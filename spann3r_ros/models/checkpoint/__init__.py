"""Files of weights: reading, checking, writing and fetching them."""
