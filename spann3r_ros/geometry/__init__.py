"""Rays, cameras, poses and alignments: numpy in, numpy out."""
