"""`rnnserve audit`."""

from rich.console import Console
from rich.text import Text

from rnnserve.client import Audit
from rnnserve.commands.target import LOCAL, Target
from rnnserve.errors import OperatorError


def audit(*, server: Target = LOCAL) -> None:
    """Check that a running server's books are in order.

    The server holds its tables against each other: every session has its place and no other's,
    whatever waits belongs to somebody, nothing is counted twice. It costs the server some
    microseconds a session, and changes nothing. Prints what is open and what waits; what is wrong
    comes below, in red, and is a fault of the server. The exit status is 0 when all is sound, 1
    otherwise.
    """
    with server.reached(), server.client() as client:
        found = client.audit()
    console = Console(soft_wrap=True)
    for name, count in counts(found):
        console.print(Text(f"{name:<14}{count:>12,}"))
    for problem in found.problems:
        console.print(Text(problem, "red"))
    if found.problems:
        raise OperatorError(f"the books of {server.target} don't agree, see above")


def counts(found: Audit) -> tuple[tuple[str, int], ...]:
    """What there is, by name."""
    return (
        ("sessions", found.sessions),
        ("generations", found.generations),
        ("waiting steps", found.waiting_steps),
        ("waiting bytes", found.waiting_bytes),
        ("tasks", found.tasks),
    )
