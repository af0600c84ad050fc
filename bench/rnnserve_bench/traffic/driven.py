"""A session of the load, and the group whose steps travel in one message."""

from typing import TYPE_CHECKING

from rnnserve_bench.traffic.messages import operation_id, step_head, step_operation

if TYPE_CHECKING:
    from rnnserve_bench.traffic.lane import Lane


class Group:
    """Sessions that step together. One chunk of each is under way, or none."""

    __slots__ = ("due_s", "lane", "missing", "sent_s", "sessions", "steps", "taken_s")

    def __init__(self, size: int) -> None:
        self.sessions = [DrivenSession(self) for _ in range(size)]
        self.lane: Lane | None = None
        self.due_s = self.taken_s = self.sent_s = 0.0
        self.steps = 1
        """Of the chunk under way."""
        self.missing = 0
        """Sessions whose chunk isn't done with."""


class DrivenSession:
    """Where a session stands."""

    __slots__ = (
        "_head",
        "_operation",
        "group",
        "index",
        "number",
        "replaced",
        "session_id",
        "under_way",
    )

    def __init__(self, group: Group) -> None:
        self.group = group
        self.number = 0
        """Of its operations on its stream."""
        self.session_id = ""
        self.index = 0
        self.under_way = False
        """Whether its chunk waits for an answer."""
        self.replaced = False
        """Whether it was lost and another one is being opened."""
        self._head = self._operation = b""

    def begin(self, session_id: str) -> None:
        """It has been opened; again, where it was lost."""
        self.session_id, self.index, self.replaced = session_id, 0, False
        self._head, self._operation = step_head(session_id), operation_id(self.number)

    def step(self, steps: int, rest: bytes) -> bytes:
        """The next chunk as an entry of a frame; `rest` are its inputs."""
        self.under_way = True
        return step_operation(self._head, self.index, rest, self._operation)
