"""`python -m rnnserve_bench`."""

from rnnserve_bench.cli import main

if __name__ == "__main__":
    main()
