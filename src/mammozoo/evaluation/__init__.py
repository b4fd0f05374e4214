"""Evaluation: from labels and probabilities to scores with intervals. Knows no network and no run."""
