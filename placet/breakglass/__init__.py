"""Break-glass: one workload let in without its approvals, by two persons, for a short time, and reviewed by a deadline.

``statement`` reads what is signed, ``verify`` and ``review`` say whether it counts, ``state`` and ``record`` keep what
came of it in the log, and ``passage`` applies all that to one decision (ADR 31).
"""
