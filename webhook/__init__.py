"""The HTTP face of placet: the validating admission webhook."""
