"""How the shipped head model is made from its public sources."""
