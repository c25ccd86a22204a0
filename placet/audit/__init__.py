"""The record: an append-only log of decisions that anybody with the log's public key can check.

The hashing is RFC 6962 section 2.1, the checkpoints are C2SP signed notes. docs/formats-audit.md has every byte.
"""
