"""Make the bundled table of nouns from WordNet 3.0's database files.

    apt-get download wordnet-base && dpkg-deb -x wordnet-base_*.deb wordnet
    python -m teacher.nouns.build_table --wordnet wordnet/usr/share/wordnet --out teacher/nouns/data/nouns.tsv.xz

The same files give the same bytes. The table has the synsets under `physical entity` and `group`, their direct
hypernyms and their words of one or two parts, without names and words with digits. Source and license are in
`data/LICENSE.md`. The manual page wndb(5WN) describes the files.
"""

from __future__ import annotations

import argparse
import lzma
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

TOPS = ("physical_entity", "group")
# Lexicographer files (lexnames(5WN)) of things that a box can be drawn around. Not of body parts, which are visible
# with every person or animal, whatever the caption says.
THINGS = {5: "animal", 6: "artifact", 13: "food", 18: "person", 20: "plant"}
_WORD = re.compile(r"[a-z]+(-[a-z]+)*(_[a-z]+(-[a-z]+)*)?")


@dataclass(frozen=True)
class Synset:
    """One line of data.noun: words in order, the lexicographer's file, offsets of the hypernyms."""

    offset: int
    file: int
    words: tuple[str, ...]
    hypernyms: tuple[int, ...]


def read_synsets(lines: Iterable[str]) -> Iterator[Synset]:
    """Yield the synsets of data.noun."""
    for line in lines:
        if line.startswith("  "):  # the license
            continue
        fields = line.split(" | ")[0].split()
        number = int(fields[3], 16)
        words = tuple(fields[4 + 2 * n] for n in range(number))
        pointers = fields[4 + 2 * number :]
        hypernyms = tuple(
            int(pointers[1 + 4 * n + 1])
            for n in range(int(pointers[0]))
            if pointers[1 + 4 * n] in ("@", "@i")
        )
        yield Synset(int(fields[0]), int(fields[1]), words, hypernyms)


def read_first_senses(lines: Iterable[str]) -> dict[str, int]:
    """Return the offset of each noun's most frequent sense, from index.noun."""
    rows = (line.split() for line in lines if not line.startswith("  "))
    return {row[0]: int(row[-int(row[2])]) for row in rows}


def find_below(all_synsets: dict[int, Synset], tops: Iterable[str]) -> set[int]:
    """Return the offsets of the tops' first synsets and of all synsets below them."""
    found = {next(o for o, s in all_synsets.items() if s.words[0] == top) for top in tops}
    narrower: dict[int, list[int]] = {}
    for synset in all_synsets.values():
        for above in synset.hypernyms:
            narrower.setdefault(above, []).append(synset.offset)
    waiting = sorted(found)
    while waiting:
        new = [offset for offset in narrower.get(waiting.pop(), ()) if offset not in found]
        found.update(new)
        waiting += new
    return found


def sort_synsets(chosen: dict[int, Synset]) -> list[Synset]:
    """Return broader synsets before narrower ones, otherwise depth first, so neighbors are related."""
    narrower: dict[int, list[int]] = {}
    for offset in sorted(chosen):
        above = [o for o in chosen[offset].hypernyms if o in chosen]
        narrower.setdefault(above[-1] if above else -1, []).append(offset)
    order: dict[int, None] = {}

    def visit(offset: int) -> None:
        if offset in order:
            return
        for above in chosen[offset].hypernyms:
            if above in chosen:
                visit(above)
        order[offset] = None
        waiting.extend(reversed(narrower.get(offset, ())))

    waiting = list(reversed(narrower[-1]))
    while waiting:
        visit(waiting.pop())
    return [chosen[offset] for offset in order]


def make_table(data: Iterable[str], index: Iterable[str]) -> bytes:
    """Return the table's text, one line per synset: steps back to its hypernyms, `T` for a thing, words, with tabs.

    `!` marks words of which this is the most frequent meaning.
    """
    everything = {synset.offset: synset for synset in read_synsets(data)}
    first = read_first_senses(index)
    under = find_below(everything, TOPS)
    ordered = sort_synsets({offset: everything[offset] for offset in under})
    place = {synset.offset: number for number, synset in enumerate(ordered)}
    lines = []
    for number, synset in enumerate(ordered):
        back = sorted(number - place[above] for above in synset.hypernyms if above in place)
        words = [word for word in dict.fromkeys(synset.words) if _WORD.fullmatch(word)]
        marked = [("!" if first.get(word) == synset.offset else "") + word for word in words]
        thing = "T" if synset.file in THINGS else ""
        lines.append("\t".join((" ".join(map(str, back)), thing, " ".join(marked))))
    return ("\n".join(lines) + "\n").encode()


def main() -> None:
    """Run the command of the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wordnet", type=Path, required=True, help="folder of data.noun and index.noun")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    data, index = (
        (options.wordnet / name).read_text("ascii").splitlines() for name in ("data.noun", "index.noun")
    )
    text = make_table(data, index)
    packed = lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)
    options.out.write_bytes(packed)
    print(len(text.splitlines()), "synsets,", len(packed), "bytes")


if __name__ == "__main__":
    main()
