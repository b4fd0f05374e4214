"""Models: backbone, head, strategy, weights on disk."""
