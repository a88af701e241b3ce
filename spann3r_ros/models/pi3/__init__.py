"""pi^3 (Wang et al. 2025): a set of images in no order, a pointmap and a pose for each."""
