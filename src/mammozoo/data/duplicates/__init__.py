"""Near-duplicates: fingerprints of images, matching pairs, groups that stay together."""
