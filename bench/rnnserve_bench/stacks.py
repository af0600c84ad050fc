"""A profiler's folded stacks, with native code named by its library."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

FRAME = re.compile(r"(?P<function>.*) \((?P<place>[^()]*)\)$")
THREAD = re.compile(r"thread \((?P<id>\d+)\)(?:: (?P<name>.*))?$")
LINE_NUMBER = re.compile(r":\d+$")
# Where a thread sleeps; a sampler that reads native stacks takes it for running.
ASLEEP = re.compile(
    r"^(epoll_wait|poll|ppoll|select|.*cond_(timed|clock)?wait.*|.*futex.*|accept4?)$"
)
LIBRARIES = {
    "cygrpc": "gRPC (native)",
    "onnxruntime": "onnxruntime (native)",
    "_message.abi3": "protobuf (native)",
    "numpy": "numpy (native)",
    "libc.so": "libc",
    "libstdc++": "libc",
    "ld-linux": "libc",
}
OTHER = "other (native)"
INTERPRETER = "[interpreter]"
FOR_OTHERS = (INTERPRETER, "[libc]")
OURS = "rnnserve"
LOOP_TURN = "BaseEventLoop._run_once"

Stack = tuple[str, ...]


@dataclass(frozen=True)
class Profile:
    """Samples of the stacks that ran, outermost frame first, by thread."""

    threads: dict[int, Counter[Stack]]
    names: dict[int, str]

    def samples(self, thread: int) -> int:
        return sum(self.threads[thread].values())


def read_folded(text: str) -> Profile:
    """`thread (ID): NAME;frame;frame COUNT` lines, as `py-spy --threads --format raw` writes."""
    threads: dict[int, Counter[Stack]] = {}
    names: dict[int, str] = {}
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        first, *frames = stack.split(";")
        found = THREAD.match(first)
        if found is None or not frames or _asleep(frames[-1]):
            continue
        thread = int(found["id"])
        names[thread] = found["name"] or "?"
        threads.setdefault(thread, Counter())[_merged(frames)] += int(count)
    return Profile(threads, names)


def self_times(stacks: Counter[Stack]) -> Counter[str]:
    """Samples by where they were taken: the innermost Python function, and in which library."""
    found: Counter[str] = Counter()
    for stack, count in stacks.items():
        python = next((frame for frame in reversed(stack) if frame.endswith(")")), "?")
        # What the interpreter and libc do, they do for whoever called them.
        inner = next((frame for frame in reversed(stack) if frame not in FOR_OTHERS), python)
        found[python if inner == python else f"{python} {inner}"] += count
    return found


def _asleep(frame: str) -> bool:
    found = FRAME.match(frame)
    return found is not None and ASLEEP.match(found["function"]) is not None


def _merged(frames: list[str]) -> Stack:
    """Python frames without line numbers, native ones as their library, once in a row.

    The interpreter's own are left out, and libc's but where the sample was taken.
    """
    merged: list[str] = []
    for place, frame in enumerate(frames, 1):
        name = _name(frame)
        if name in FOR_OTHERS and (name == INTERPRETER or place < len(frames)):
            continue
        if not merged or merged[-1] != name:
            merged.append(name)
    return tuple(merged) or (INTERPRETER,)


def _name(frame: str) -> str:
    found = FRAME.match(frame)
    if found is None:
        return f"[{OTHER}]"
    place = LINE_NUMBER.sub("", found["place"])
    if place.endswith(".py") or place.startswith("<"):
        return f"{found['function']} ({_short(Path(place).parts)})"
    for mark, library in LIBRARIES.items():
        if mark in place:
            return f"[{library}]"
    return INTERPRETER if "libpython" in place or place.endswith((".c", ".h")) else f"[{OTHER}]"


def _short(parts: tuple[str, ...]) -> str:
    """Where a file lies in its package; more could name somebody's folders."""
    start = parts.index(OURS) if OURS in parts else len(parts) - 2
    return "/".join(parts[max(start, 0) :])


def below_loop(stacks: Counter[Stack]) -> Counter[Stack]:
    """The stacks without what is below the event loop's turn, which every one has."""
    cut: Counter[Stack] = Counter()
    for stack, count in stacks.items():
        turns = [place for place, frame in enumerate(stack) if frame.startswith(LOOP_TURN)]
        cut[stack[turns[-1] :] if turns else stack] += count
    return cut


def area(name: str) -> str:
    """The part of the program that an entry of `self_times` belongs to."""
    function, _, native = name.partition(") [")
    place = function.rpartition("(")[2].rstrip(")")
    return native.rstrip("]") or place.rpartition("/")[0] or place
