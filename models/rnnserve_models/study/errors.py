"""What a person can get wrong with a study; each message says what to do next."""

from rnnserve_models.errors import TrainingError


class StudyError(TrainingError):
    """The study cannot start or go on; what is finished stays."""
