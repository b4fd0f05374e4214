"""Multistage transfer with EfficientNetB2 (Ayana 2022)."""
