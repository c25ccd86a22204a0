"""Signed evidence for the facts that the risk score is made of."""
