"""Where an experiment's data comes from."""
