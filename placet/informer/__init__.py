"""A memory of objects at the API server that is kept up by a watch, and knows how old it may be: ADR 36."""
