"""Models: a backbone that makes feature maps, a head that reads them, and their weights on disk."""
