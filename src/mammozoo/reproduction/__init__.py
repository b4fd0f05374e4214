"""Reproducing a paper: its runs, the obtained numbers beside the reported ones, and every departure."""
