"""What stops an export. Each message says what was found and what to do about it."""

from rnnserve.errors import OperatorError


class ExportError(OperatorError):
    """The run or the module can't be exported as asked; nothing was published."""


class UnservableModule(ExportError):
    """The module isn't what can be served, or its examples and states don't describe it."""


class ProofFailed(ExportError):
    """The graph doesn't compute what the module computes."""


class OtherInterface(ExportError):
    """The name is taken by a model with other inputs, outputs or carry."""


class PublishError(ExportError):
    """The repository can't be written, or isn't as it must be."""
