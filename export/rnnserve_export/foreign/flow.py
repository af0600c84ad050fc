"""How each output of a graph is computed from each of its inputs.

One walk through the graph in its own order, into the branches and bodies inside it; every value
gets the trail that follows from those it is computed from.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import onnx

from rnnserve_export.foreign.operators import (
    MEMORIES,
    MIX,
    MOVE,
    MOVERS,
    SEQUENCE_CELLS,
    cost,
)
from rnnserve_export.foreign.trail import (
    COMPUTED,
    Computed,
    Memory,
    Scope,
    Trail,
    beyond,
    either,
    kept,
)


@dataclass(frozen=True)
class Flow:
    """What follows for a graph's inputs and outputs, by name."""

    far: Mapping[tuple[str, str], int]
    """From an input to an output, where that depends on it."""
    moved: frozenset[tuple[str, str]]
    """The output has numbers of that input, moved along, beside others."""
    memories: Mapping[tuple[str, str], Memory]
    """The output is what a memory became that began as that input."""
    rows_of_table: Mapping[str, int]
    """Inputs whose numbers choose rows of a constant table, and how many it has."""


@dataclass
class _Walk:
    """What is found on the way."""

    names: list[str]
    begins: list[tuple[Memory, frozenset[str]]] = field(default_factory=list)
    """Memories, and the inputs that they begin as."""
    tables: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.nothing = Trail(np.full(len(self.names), np.inf))
        """Of constants."""

    def graph(self, graph: onnx.GraphProto, scope: Scope) -> list[Trail]:
        """The trails of its outputs."""
        sizes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
        for name in sizes:
            scope.trails.setdefault(name, self.nothing)
        for node in graph.node:
            if node.op_type == "Constant":
                sizes |= dict.fromkeys(node.output, _constant_dims(node))
            self._table(node, sizes, scope)
            # A file that isn't valid may promise more outputs than there are.
            scope.trails |= zip(node.output, self._node(node, scope), strict=False)
        return [scope.find(entry.name, self.nothing) for entry in graph.output]

    def _node(self, node: onnx.NodeProto, scope: Scope) -> list[Trail]:
        given = [scope.find(name, self.nothing) for name in node.input]
        inner = {a.name: a.g for a in node.attribute if a.HasField("g")}
        if node.op_type == "If" and len(inner) == 2:
            branches = [self.graph(graph, Scope({}, scope)) for graph in inner.values()]
            chosen = beyond(given, MIX, self.nothing)
            return [either([*ways, chosen]) for ways in zip(*branches, strict=False)]
        if node.op_type in ("Loop", "Scan") and "body" in inner:
            return self._repeated(node, inner["body"], given, scope)
        plain = self._plain(node.op_type, given)
        found = [plain] * len(node.output)
        for place, (entry, at, end) in MEMORIES.get(node.op_type, {}).items():
            if place >= len(given) or not node.input[place]:
                continue
            way = f"{entry} -> {end} of the {node.op_type} {node.name or node.output[0]!r}"
            memory = self._memory(way, given[place])
            if at < len(found):
                found[at] = kept(memory, given[place], plain)
            if at == 1 and node.op_type in SEQUENCE_CELLS:
                last = Memory(memory.number, f"{entry} -> last Y of the {node.op_type}", False)
                found[0] = kept(last, given[place], plain)
        return found

    def _plain(self, operator: str, given: list[Trail]) -> Trail:
        """What an operator without a memory makes of its inputs."""
        ways: list[np.ndarray] = []
        held: set[str | Memory | Computed] = set()
        for place, trail in enumerate(given):
            price = cost(operator, place)
            if price is None:
                return self.nothing
            ways.append(trail.far + price)
            if price == MOVE:
                held |= trail.held
        far = np.min(ways, axis=0) if ways else self.nothing.far
        if operator not in MOVERS and np.isfinite(far).any():
            held.add(COMPUTED)
        return Trail(far, frozenset(held))

    def _repeated(
        self, node: onnx.NodeProto, body: onnx.GraphProto, given: list[Trail], scope: Scope
    ) -> list[Trail]:
        """A Loop or a Scan: what it carries around goes in, through the body, and in again."""
        is_loop = node.op_type == "Loop"
        scanned = next((a.i for a in node.attribute if a.name == "num_scan_inputs"), 0)
        outer = given[:2] if is_loop else []  # how often, and whether to go on
        entries = given[2:] if is_loop else given
        carried = len(entries) - scanned
        begin, read = (
            entries[:carried],
            [beyond([e], MOVE, self.nothing) for e in entries[carried:]],
        )
        named = node.input[2 if is_loop else 0 :]
        now, ends = list(begin), list(begin)
        for _ in range(carried + 1):
            inside = [*([self.nothing] * 2 if is_loop else []), *now, *read]
            local = {e.name: trail for e, trail in zip(body.input, inside, strict=False)}
            ends = self.graph(body, Scope(local, scope))[1 if is_loop else 0 :]
            now = [either([old, new]) for old, new in zip(now, ends, strict=False)]
        turned = beyond(outer, MIX, self.nothing)
        found = [either([end, turned]) for end in ends]
        for place in range(min(carried, len(found))):
            way = f"{named[place]} carried around by a {node.op_type}"
            memory = self._memory(way, begin[place], is_whole=False)
            found[place] = kept(memory, begin[place], found[place])
        return found

    def _memory(self, way: str, begin: Trail, is_whole: bool = True) -> Memory:
        memory = Memory(next(self.numbers), way, is_whole)
        origins = frozenset(held for held in begin.held if isinstance(held, str))
        if not origins and np.min(begin.far, initial=np.inf) < MIX:
            # A state that is multiplied by "not a new sequence" first is still that state. Which of
            # both is the state, shapes tell.
            nearest = np.flatnonzero(begin.far == begin.far.min())
            origins = frozenset(self.names[place] for place in nearest)
        self.begins.append((memory, origins))
        return memory

    def _table(self, node: onnx.NodeProto, sizes: Mapping[str, list[int]], scope: Scope) -> None:
        """Take note of inputs that choose rows of a constant."""
        if node.op_type != "Gather" or len(node.input) < 2:
            return
        size = sizes.get(node.input[0], [])
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        held = scope.find(node.input[1], self.nothing).held
        names = [name for name in held if isinstance(name, str)]
        if len(held) == len(names) == 1 and -len(size) <= axis < len(size) and size[axis] > 0:
            self.tables[names[0]].append(size[axis])


def _constant_dims(node: onnx.NodeProto) -> list[int]:
    return next((list(a.t.dims) for a in node.attribute if a.HasField("t")), [])


def trace(model: onnx.ModelProto, names: list[str]) -> Flow:
    """Follow the inputs `names` through the graph."""
    walk = _Walk(names)
    trails = {}
    for place, name in enumerate(names):
        far = np.full(len(names), np.inf)
        far[place] = 0
        trails[name] = Trail(far, frozenset({name}))
    ends = dict(
        zip(
            [entry.name for entry in model.graph.output],
            walk.graph(model.graph, Scope(trails)),
            strict=True,
        )
    )
    begins = {memory.number: origins for memory, origins in walk.begins}
    memories: dict[tuple[str, str], Memory] = {}
    for output, trail in ends.items():
        for memory in sorted(
            (held for held in trail.held if isinstance(held, Memory)),
            key=lambda memory: (memory.is_whole, -memory.number),
        ):
            memories |= {(name, output): memory for name in begins[memory.number]}
    return Flow(
        {
            (name, output): int(trail.far[place])
            for output, trail in ends.items()
            for place, name in enumerate(names)
            if np.isfinite(trail.far[place])
        },
        frozenset(
            (name, output)
            for output, trail in ends.items()
            if len(trail.held) > 1
            for name in trail.held
            if isinstance(name, str)
        ),
        memories,
        {name: min(sizes) for name, sizes in walk.tables.items()},
    )
