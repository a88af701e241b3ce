"""Spann3R (Wang and Agapito 2024)."""
