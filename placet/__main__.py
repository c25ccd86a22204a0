"""``python -m placet``: the same as the console script."""

from placet.cli import main

if __name__ == "__main__":
    main()
