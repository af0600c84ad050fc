"""Stacks as a flame graph in SVG: width is time, every frame upon its caller."""

from collections import Counter
from html import escape
from zlib import crc32

from rnnserve_bench.stacks import Stack

WIDTH, ROW, TEXT = 1400, 17, 11
CHARACTER = 6.4
LEAST_WIDTH = 0.6
HEAD = 40


class Flame:
    """One frame and what it called."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.value = 0.0
        self.calls: dict[str, Flame] = {}

    def add(self, stack: Stack, value: float) -> None:
        """A stack below this frame."""
        flame = self
        flame.value += value
        for name in stack:
            flame = flame.calls.setdefault(name, Flame(name))
            flame.value += value

    def depth(self) -> int:
        return 1 + max((call.depth() for call in self.calls.values()), default=0)


def flame_svg(title: str, stacks: dict[str, Counter[Stack]], values_us: dict[str, float]) -> str:
    """One flame for each thread, upon a common root; `values_us` is each thread's whole time."""
    root = Flame("server CPU")
    for thread, found in stacks.items():
        whole = sum(found.values())
        for stack, count in found.items():
            root.add((thread, *stack), values_us[thread] * count / whole)
    height = HEAD + ROW * (root.depth() + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="monospace" font-size="{TEXT}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="8" y="22" font-size="15">{escape(title)}</text>',
    ]
    _draw(root, 0.0, height - ROW - 4, WIDTH / root.value if root.value else 0.0, parts)
    return "\n".join([*parts, "</svg>", ""])


def _draw(flame: Flame, x: float, y: float, scale: float, parts: list[str]) -> None:
    width = flame.value * scale
    if width < LEAST_WIDTH:
        return
    label = f"{flame.name}: {flame.value:.2f} us a step"
    parts.append(f"<g><title>{escape(label)}</title>")
    parts.append(
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}" '
        f'fill="{_colour(flame.name)}" rx="1"/>'
    )
    room = int((width - 4) / CHARACTER)
    if room > 3:
        shown = flame.name if len(flame.name) <= room else flame.name[: room - 1] + "…"
        parts.append(f'<text x="{x + 2:.1f}" y="{y + ROW - 5}">{escape(shown)}</text>')
    parts.append("</g>")
    for call in sorted(flame.calls.values(), key=lambda call: call.name):
        _draw(call, x, y - ROW, scale, parts)
        x += call.value * scale


def _colour(name: str) -> str:
    """Warm for Python, blue for native code; a name has the same one in every graph."""
    shade = crc32(name.encode()) % 50
    hue, light = (205, 70) if name.startswith("[") else (15, 65)
    return f"hsl({hue + shade % 25}, 70%, {light + shade // 5}%)"
