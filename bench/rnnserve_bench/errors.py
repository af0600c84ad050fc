"""What stops a bench; its text is meant for the person at the command line."""


class BenchProblem(Exception):
    """The bench can't go on, or a contestant answered something wrong."""
