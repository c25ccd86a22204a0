"""Policies: the input and data documents, the two engines that judge them, and the decision they give."""
