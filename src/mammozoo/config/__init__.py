"""Configuration: what a recipe says, how names are written, what has to be installed for it."""
