"""Data: from a folder on disk to batches, without cutting a patient in two."""
