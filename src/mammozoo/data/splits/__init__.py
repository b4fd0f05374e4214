"""Splits by group: making them, reading and writing them, auditing those of others."""
