"""Hostile bytes for everything that a reader of an index parses: an error of ours or an answer, soon, in little memory.

    fuzz.py FOLDER EXECUTIONS SEED      mutations by chance
    fuzz.py FOLDER atheris SECONDS      mutations that reach new lines of code (needs atheris)

Most executions give the bytes to one parser. Every `DEEP`-th puts them into a generation whose manifest vouches for
them (size, checksum, name), opens it with and without checks, and asks it everything: no accident, but an attacker.
"""

from __future__ import annotations

import logging
import random
import shutil
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import states
from forks import fast_folder

from mmsearch.errors import MmsearchError
from mmsearch.files import hash_file
from mmsearch.index import ForwardIndex
from mmsearch.index.arrays import open_array
from mmsearch.index.layout import generation_name, read_current
from mmsearch.index.manifest import Manifest, StoredFile, manifest_hash, read_manifest
from mmsearch.index.query_tower import read_query_tower

DEEP = 20
MAX_SECONDS = 1.0
MAX_RSS = 512 << 20
#: What has meaning somewhere in these files.
TOKENS = (
    *(b"0", b"-1", b"1e999", b"18446744073709551616", b"null", b"[]", b"{}", b'""', b"\xff\xfe", b"\0", b"../../etc"),
    *(b"'descr': '|O'", b"'shape': (99999999999999,)", b"'fortran_order': True", b"<f8", b">f2", b"\x93NUMPY\x02\x00"),
    *(b"int8", b"float32", b'"num_docs": 4294967295', b'"format_version": 4', b'"base": null', b"((((((((("),
)


class Target:
    """An index of a base and an overlay, and what happens when one of its files holds other bytes."""

    def __init__(self, folder: Path) -> None:
        self.index = folder / "work" / "index"
        states.publish(self.index, 1)  # bytes with scales
        states.overlay(self.index, 2)
        self.overlay = ForwardIndex.open(self.index).generation
        self.base = ForwardIndex.open(self.index).base or ""
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        paths = [p for name in (self.base, self.overlay) for p in sorted(self._folder(name).rglob("*")) if p.is_file()]
        self.files = {path: path.read_bytes() for path in (*paths, self.index / "CURRENT")}
        self.seen: Counter[str] = Counter()

    def _folder(self, name: str) -> Path:
        return self.index / "generations" / name

    def try_one(self, path: Path, data: bytes, *, deep: bool) -> None:
        """Let a parser, or a whole reader, see the bytes in the place of a file; only our errors may come out."""
        start = time.perf_counter()
        try:
            (self._read if deep else self._parse)(path, data)
            self.seen["answered"] += 1
        except MmsearchError as error:
            self.seen[type(error).__name__] += 1
        seconds = time.perf_counter() - start
        assert seconds < MAX_SECONDS, f"{path.name}: {seconds:.1f} s"

    def _parse(self, path: Path, data: bytes) -> None:
        copy = self.scratch / path.name
        copy.write_bytes(data)
        if path.name == "manifest.json":
            read_manifest(self.scratch, generation_name(1, manifest_hash(data)))
        elif path.name == "CURRENT":
            read_current(self.scratch)
        elif path.name == "query_tower.json":
            read_query_tower(self.scratch)
        elif path.suffix == ".npy":
            whole = np.load(path, mmap_mode="r")
            open_array(copy, whole.dtype.name, whole.shape).sum()

    def _read(self, path: Path, data: bytes) -> None:
        if path.name == "CURRENT":
            path.write_bytes(data)
            try:
                ask(ForwardIndex.open(self.index))
            finally:
                path.write_bytes(self.files[path])
            return
        name = self.base if self.base in path.parts else self.overlay
        folder = self._folder(name)
        path.write_bytes(data)
        vouched = folder
        try:
            if path.name != "manifest.json":
                self._vouch(folder, path)
            signed = generation_name(int(name[1:7]), manifest_hash((folder / "manifest.json").read_bytes()))
            vouched = folder.rename(self._folder(signed))
            for verify in ("none", "lazy"):
                ask(ForwardIndex.open(self.index, signed, verify=verify))  # type: ignore[arg-type]
        finally:
            vouched.rename(folder)
            path.write_bytes(self.files[path])
            (folder / "manifest.json").write_bytes(self.files[folder / "manifest.json"])

    def _vouch(self, folder: Path, path: Path) -> None:
        manifest = Manifest.model_validate_json(self.files[folder / "manifest.json"])
        stored = StoredFile(bytes=path.stat().st_size, xxh3=hash_file(path))
        files = {**manifest.files, path.relative_to(folder).as_posix(): stored}
        (folder / "manifest.json").write_bytes(manifest.model_copy(update={"files": files}).to_bytes())


def ask(index: ForwardIndex) -> None:
    """Ask an index everything."""
    rows = index.rows([*states.doc_ids(), "nobody"])
    list(index.doc_ids)
    index.contents(rows)
    index.live()
    assert index.versions
    for space in index.spaces:
        index.vectors(space.name, rows)
        index.present(space.name)
        for _ in index.blocks(space.name):
            pass


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Change some bytes by chance."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = (
            chance.randrange(len(changed) + 1)
            if chance.random() < 0.5
            else chance.randrange(min(len(changed), 200) + 1)
        )
        kind = chance.randrange(6)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1 and at < len(changed):
            changed[at] = chance.choice((0, 0xFF, 0x7F, 0x80, chance.randrange(256)))
        elif kind == 2:
            changed[at : at + 8] = chance.choice((-1, 0, 1 << 31, 1 << 62, chance.getrandbits(62))).to_bytes(
                8, "little", signed=True
            )
        elif kind == 3:
            token = chance.choice(TOKENS)
            changed[at : at + chance.choice((0, len(token)))] = token
        elif kind == 4:
            del changed[at : at + chance.choice((1, 8, 64, 1 << 20))]
        else:
            changed[at:at] = changed[chance.randrange(len(changed) + 1) :][: chance.choice((1, 16, 256))]
    return bytes(changed)


def peak_rss() -> int:
    """Give the peak of this program in bytes; what `getrusage` tells begins with the peak of what started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def by_chance(target: Target, executions: int, seed: int) -> None:
    """Mutate files by chance."""
    chance, paths = random.Random(seed), list(target.files)
    for turn in range(executions):
        path = chance.choice(paths)
        data = mutated(target.files[path], chance)
        try:
            target.try_one(path, data, deep=turn % DEEP == 0)
        except BaseException:
            print(f"execution {turn}, {path.relative_to(target.index)}: {data[:400]!r}", file=sys.stderr)
            raise
    peak = peak_rss()
    print(f"{executions} executions, seed {seed}: {dict(target.seen)}; peak {peak >> 20} MiB")
    assert peak < MAX_RSS
    assert target.seen["answered"], "every mutation was refused"
    assert target.seen["CorruptIndexError"], "no mutation was refused"


def by_coverage(target: Target, seconds: int) -> None:
    """Let atheris mutate: the first byte says which file, the second whether all of a reader sees it."""
    import atheris

    paths = list(target.files)
    corpus = target.scratch.with_name("corpus")
    corpus.mkdir()
    for at, path in enumerate(paths):
        (corpus / f"{at}").write_bytes(bytes([at, at % 2]) + target.files[path])

    def one(data: bytes) -> None:
        if len(data) > 1:
            target.try_one(paths[data[0] % len(paths)], data[2:], deep=data[1] % DEEP == 1)

    atheris.instrument_all()
    limits = [f"-max_total_time={seconds}", "-timeout=2", "-rss_limit_mb=512", "-max_len=8192", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], one)
    atheris.Fuzz()


def main() -> None:
    """Do what the command line says."""
    logging.disable(logging.ERROR)
    warnings.simplefilter("ignore")  # numpy's parser of headers is that of Python literals
    folder = fast_folder(Path(sys.argv[1]), "fuzz")
    try:
        target = Target(folder)
        if sys.argv[2] == "atheris":
            by_coverage(target, int(sys.argv[3]))
        else:
            by_chance(target, int(sys.argv[2]), int(sys.argv[3]))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
