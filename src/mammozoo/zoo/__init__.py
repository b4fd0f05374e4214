"""The model zoo: list, get, check, join, publish."""
