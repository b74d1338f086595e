#!/usr/bin/env python3
"""Names every circle of includes between units. A unit is a header with the source of the same name, so that a header
whose source includes its own users is found too. Sources for the GPU are units of their own."""
import collections
import pathlib
import re
import sys

FOLDERS = "base net proto storage sources text plan quant cli server worker client local".split()
INCLUDE = re.compile(r'^\s*#include "([a-z0-9_/]+\.(?:h|inc))"', re.MULTILINE)


def unit_of(path):
    return path if path.endswith(".cu") else path.rsplit(".", 1)[0]


def read_graph(root):
    graph = collections.defaultdict(set)
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in (".h", ".cc", ".inc", ".cu"):
                continue
            unit = unit_of(str(path.relative_to(root)))
            graph[unit] |= {unit_of(name) for name in INCLUDE.findall(path.read_text(encoding="utf-8"))} - {unit}
    return graph


def find_circles(graph):
    """Tarjan's strongly connected components of more than one unit."""
    index, low, stack, circles = {}, {}, [], []

    def visit(unit):
        index[unit] = low[unit] = len(index)
        stack.append(unit)
        for used in graph.get(unit, ()):
            if used not in index:
                visit(used)
                low[unit] = min(low[unit], low[used])
            elif used in stack:
                low[unit] = min(low[unit], index[used])
        if low[unit] == index[unit]:
            circle = [stack.pop()]
            while circle[-1] != unit:
                circle.append(stack.pop())
            if len(circle) > 1:
                circles.append(sorted(circle))

    for unit in list(graph):
        if unit not in index:
            visit(unit)
    return circles


def main():
    circles = find_circles(read_graph(pathlib.Path(sys.argv[1])))
    for circle in circles:
        print("architecture: these include each other in a circle:", " ".join(circle), file=sys.stderr)
    return 1 if circles else 0


if __name__ == "__main__":
    sys.exit(main())
