"""MASt3R (Leroy et al. 2024): DUSt3R with descriptors that match pixels across images."""
