"""What in a running cluster leaves a hole in the gate: read, compared and said; nothing is ever written there."""
