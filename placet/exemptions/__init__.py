"""Signed exemptions: who says that a workload needs no approval, of what content, until when (ADR 35)."""
