"""The model zoo: what there is, where it is, whether it is what it says."""
