"""Equality with the published networks, tensor by tensor, on recorded activations; one module a family.

A recording holds inputs and what the published implementation computed from them. It is replayed through our own code,
and every tensor that both know is compared, and so is every decision.
"""
