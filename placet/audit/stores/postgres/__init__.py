"""The log in a PostgreSQL database: several replicas append to it, none of them leads."""
