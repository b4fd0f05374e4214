"""Exponentially decaying learning rates (Chougrad 2017)."""
