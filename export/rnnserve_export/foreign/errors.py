"""What stops an import. Each message says what was found and what to do about it."""

from rnnserve_export.errors import ExportError


class ForeignError(ExportError):
    """The file is no graph that can be served, or not as it lies there."""


class Undecided(ForeignError):
    """Something has to be known that the file doesn't tell; the message names the option."""


class BadHint(ForeignError):
    """An option says something of a tensor that can't be so."""


class Disproved(ForeignError):
    """The graph, as it was read, doesn't do what a server needs."""
