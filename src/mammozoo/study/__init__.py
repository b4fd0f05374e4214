"""A study that is written down before it is carried out: protocol, ledger, freezing, carrying out, deviations, results."""
