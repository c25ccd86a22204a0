"""Past decisions judged again: first by what they were judged by, which must give the same, then by a candidate."""
