"""Ground floor: small parts that know nothing of experiments."""
