"""What policy authors work with: sources laid out with what ships, tested, checked, explained, measured."""
