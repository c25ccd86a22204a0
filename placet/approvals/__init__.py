"""Signed approvals: DSSE envelopes, statements, keys, the keyring, revocations, and the order of verification."""
