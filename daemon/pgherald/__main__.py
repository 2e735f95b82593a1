"""`python -m pgherald`."""

from pgherald.cli import main

if __name__ == "__main__":
    main()
