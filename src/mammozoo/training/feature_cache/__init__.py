"""Features of the frozen part of a network, computed once and kept."""
