"""A decision with everything that it rested on: gathered from a record, written as one file, verified alone."""
