"""Policies that judge live reviews beside those in force: where the two differ, and what the record says of it."""
