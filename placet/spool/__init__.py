"""Denials that wait on the gate's own disk while the record's store is away; ADR 42."""
