"""What a disk may hold after the power went: a file system in memory that replays a trace of the shim.

It promises what POSIX promises and no more. Data of a file is certain up to its last fsync, the names in a folder are
certain up to the last fsync of that folder; of everything later, any part may be there and any other may not, in any
order: each change of a name by itself, each write whole, torn or absent. A rename is one change. Only what went
before is the floor: one cannot lose what was synced.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_PAGE = 512


@dataclass(eq=False)
class Node:
    """A file or a folder, under whatever name."""

    is_folder: bool
    #: Of a file: (offset, bytes), or (length, None) for a truncation; those before `synced` are certain.
    data: list[tuple[int, bytes | None]] = field(default_factory=list)
    #: Of a folder: the changes of its names, (change number, name, node or None).
    names: list[tuple[int, str, Node | None]] = field(default_factory=list)
    synced: int = 0


@dataclass(frozen=True)
class Call:
    """A record of a trace."""

    what: str
    number: int
    inode: int
    path: str
    other: str
    data: bytes


def read_trace(path: Path) -> Iterator[Call]:
    """Give the calls of a trace, in order."""
    with path.open("rb") as file:
        while line := file.readline():
            what, number, inode, first, second, size = line.decode().split()
            names = os.fsdecode(file.read(int(first))), os.fsdecode(file.read(int(second)))
            yield Call(what, int(number), int(inode), *names, file.read(int(size)))


class Disk:
    """A folder as it is at first, all of it certain, and what the calls of a trace make of it.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._changes = 0
        self._inodes: dict[int, Node] = {}
        self.top = self._load(root)

    def _load(self, path: Path) -> Node:
        node = Node(path.is_dir())
        if node.is_folder:
            node.names = [(0, child.name, self._load(child)) for child in sorted(path.iterdir())]
        else:
            node.data = [(0, path.read_bytes())]
        node.synced = len(node.names) + len(node.data)
        self._inodes[path.stat().st_ino] = node
        return node

    def apply(self, call: Call) -> None:
        """Let a call happen."""
        self._changes += 1
        if call.what == "open" and call.number:
            node = self._inodes[call.inode] = Node(False)
            self._name(call.path, node)
        elif call.what == "mkdir":
            self._name(call.path, Node(True))
        elif call.what in ("unlink", "rmdir"):
            self._name(call.path, None)
        elif call.what == "rename":
            node = self._find(call.path)
            self._name(call.path, None)
            self._name(call.other, node)
        elif call.what == "write":
            self._inodes[call.inode].data.append((call.number, call.data))
        elif call.what == "truncate":
            self._inodes[call.inode].data.append((call.number, None))
        elif call.what == "sync" and (synced := self._synced(call)) is not None:
            synced.synced = len(synced.names) + len(synced.data)

    def _synced(self, call: Call) -> Node | None:
        try:
            return self._find(call.path)
        except KeyError:  # a file that lost its name while it was open
            return self._inodes.get(call.inode)

    def _name(self, path: str, node: Node | None) -> None:
        parent, name = os.path.split(path)
        self._find(parent).names.append((self._changes, name, node))

    def _find(self, path: str) -> Node:
        node = self.top
        for name in path.removeprefix(self._root).strip("/").split("/"):
            if name:
                found = {n: child for _, n, child in node.names}[name]
                if found is None:
                    raise KeyError(path)
                node = found
        return node

    def uncertain(self) -> int:
        """Give how many changes a loss of power may undo."""
        return sum(len(node.names) + len(node.data) - node.synced for node in self._nodes(self.top, set()))

    def _nodes(self, node: Node, seen: set[int]) -> Iterator[Node]:
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            for _, _, child in node.names:
                if child is not None:
                    yield from self._nodes(child, seen)

    def lose_power(self, to: Path, fate: Callable[[], float]) -> None:
        """Write one of the states that a disk may be in to a folder that does not exist yet.

        Args:
            to: the folder.
            fate: called for every uncertain change: below 0.5 it is lost; a write is torn above 0.9.
        """
        kept: dict[int, bool] = {}
        self._write(self.top, to, kept, fate)

    def _write(self, node: Node, to: Path, kept: dict[int, bool], fate: Callable[[], float]) -> None:
        if not node.is_folder:
            to.write_bytes(self._content(node, fate))
            return
        to.mkdir()
        names: dict[str, Node | None] = {}
        for at, (change, name, child) in enumerate(node.names):
            if at >= node.synced and not kept.setdefault(change, fate() >= 0.5):
                continue
            names[name] = child
        for name, child in names.items():
            if child is not None:
                self._write(child, to / name, kept, fate)

    def _content(self, node: Node, fate: Callable[[], float]) -> bytes:
        content = bytearray()
        for at, (offset, data) in enumerate(node.data):
            chance = 0.6 if at < node.synced else fate()
            if chance < 0.5:
                continue
            if data is None:
                del content[offset:]
                content.extend(bytes(offset - len(content)))
                continue
            if chance > 0.9:  # some pages of it
                data = b"".join(data[i : i + _PAGE] for i in range(0, len(data), _PAGE) if fate() >= 0.5)
            content.extend(bytes(max(0, offset - len(content))))
            content[offset : offset + len(data)] = data
        return bytes(content)


def fates(chance: random.Random, num_random: int) -> Iterator[Callable[[], float]]:
    """Give ways to lose power: nothing uncertain kept, everything kept, mostly kept, mostly lost, and by chance."""
    yield lambda: 0.0
    yield lambda: 0.6
    for turn in range(num_random):
        bias = (0.0, 0.3, -0.3)[turn % 3]
        yield lambda bias=bias: min(max(chance.random() + bias, 0), 1)


def same(one: Path, other: Path) -> bool:
    """Tell whether two folders hold the same names and bytes."""
    found = [{p.relative_to(top): p.is_dir() or p.read_bytes() for p in top.rglob("*")} for top in (one, other)]
    return found[0] == found[1]


def fresh(folder: Path) -> Path:
    """Give a folder's name after removing what lies there."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder
