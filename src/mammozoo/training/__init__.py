"""Training: recipe, the loop, and the run directory."""
