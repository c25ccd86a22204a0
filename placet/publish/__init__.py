"""What a cluster is shown of the record: Events, ConfigMaps, reports, checkpoints. A view, not evidence (ADR 47)."""
