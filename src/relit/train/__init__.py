"""Training of the shipped networks. Nothing here is needed to use relit."""
