"""`python -m rnnserve` is `rnnserve`."""

from rnnserve.cli import main

if __name__ == "__main__":
    main()
