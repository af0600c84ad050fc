"""How full the server is: gauges that are looked at ten times a second, not counted."""

from collections import Counter as Tallied
from collections.abc import Iterable

from rnnserve.engine.occupancy import Occupancy
from rnnserve.ops.metrics.families import Found, Labels, Register
from rnnserve.ops.register import UNLOADED
from rnnserve.wire.inference.repository import Indexed, State


class House:
    """What is taken of what there is. Every gauge is at most 0.1 s old."""

    def __init__(self, register: Register) -> None:
        def gauge(name: str, help_text: str, *labels: str) -> Found:
            found = Found(name, help_text, labels)
            register(found)
            return found

        self._carry = gauge("rnnserve_carry_bytes", "Carried by the open sessions.", "model")
        self._versions = gauge(
            "rnnserve_model_versions",
            "Versions of a model: ready, stale (served as it was, what lies there now can't be "
            "loaded), retiring with sessions left, or unavailable.",
            *("model", "state"),
        )
        self._plain = {
            name: gauge(f"rnnserve_{name}", help_text)
            for name, help_text in {
                "carry_limit_bytes": "What the open sessions may carry in all.",
                "sessions_limit": "Sessions that may be open at once.",
                "waiting_steps": "Steps taken in and not answered.",
                "waiting_limit_steps": "Steps that may wait before new ones are refused.",
                "waiting_bytes": "Inputs and outputs of the steps taken in and not answered.",
                "waiting_limit_bytes": "Bytes that may wait before new steps are refused.",
                "streams": "Native streams that are open.",
                "draining": "Whether the server takes no new sessions because it stops: 0 or 1.",
            }.items()
        }

    def look(self, now: Occupancy, streams: int, versions: Iterable[Indexed]) -> None:
        """Show this from now on."""
        self._carry.look({(name,): size for name, size in now.carry_bytes.items()})
        self._versions.look(_by_state(versions, now.retiring))
        values = {
            "carry_limit_bytes": now.max_carry_bytes,
            "sessions_limit": now.max_sessions,
            "waiting_steps": now.waiting_steps,
            "waiting_limit_steps": now.max_waiting_steps,
            "waiting_bytes": now.waiting_bytes,
            "waiting_limit_bytes": now.max_waiting_bytes,
            "streams": streams,
            "draining": int(now.is_draining),
        }
        for name, value in values.items():
            self._plain[name].look({(): value})


def _by_state(versions: Iterable[Indexed], retiring: Iterable[str]) -> dict[Labels, float]:
    """How many versions of each model are in each state, zeros included: an alert on a state that
    never was must find a series."""
    counts: Tallied[Labels] = Tallied((name, "retiring") for name in retiring)
    for entry in versions:
        if entry.reason == UNLOADED:
            # Nobody is to be woken for what was wished.
            counts[entry.name, "ready"] += 0
            continue
        counts[entry.name, _word(entry)] += 1
    names = {name for name, _ in counts}
    return {
        (name, state): counts[name, state]
        for name in sorted(names)
        for state in ("ready", "stale", "retiring", "unavailable")
    }


def _word(entry: Indexed) -> str:
    if entry.state is State.UNAVAILABLE:
        return "unavailable"
    # One that is being loaded anew is served as it was meanwhile, or wasn't.
    return "stale" if entry.reason and entry.state is State.READY else "ready"
