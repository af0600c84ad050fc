"""What a person can get wrong when training; each message says what to do next."""


class TrainingError(Exception):
    """Training cannot start or go on; the message is one sentence for the person who asked."""


class CorpusError(TrainingError):
    """The text is missing, empty, unreadable or too short."""


class RunError(TrainingError):
    """The run directory holds something else than the command needs."""
