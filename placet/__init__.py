"""placet: signed approvals for model workloads, judged by policy, kept in a provable record."""

__version__ = "0.1.0"
