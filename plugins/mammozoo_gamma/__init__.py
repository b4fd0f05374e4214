"""Transfer learning, and fine-tuning from layer γ (Falconí 2020)."""
