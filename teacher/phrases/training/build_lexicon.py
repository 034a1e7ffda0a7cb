"""Make the bundled lexicon from free treebanks and WordNet's word lists.

    python -m teacher.phrases.training.build_lexicon --treebank ewt_train.conllu.xz --treebank gumfree_train.conllu.xz \
        --wordnet SITE-PACKAGES/spacy_lookups_data/data --out teacher/phrases/data/lexicon.tsv.xz

The same inputs give the same bytes. Sources and licenses are in `data/LICENSE.md`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import lzma
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

Tagged = list[tuple[str, str]]
WORDNET_FORMS = {"noun": "NN", "verb": "VB", "adj": "JJ", "adv": "RB"}
_NAMES = {"NNP", "NNPS"}
_BE = {"is", "are", "was", "were", "'s", "'re", "be", "been"}
_MAX_SUFFIX = 4


def read_tagged(path: Path) -> Iterator[Tagged]:
    """Yield (lower-case word, Penn tag) pairs of each sentence of a CoNLL-U file, plain or .xz."""
    read = lzma.open if path.suffix == ".xz" else open
    with read(path, "rt", encoding="utf-8") as lines:
        sentence: Tagged = []
        for line in lines:
            fields = line.rstrip("\n").split("\t")
            if len(fields) == 10 and fields[0].isdigit():
                sentence.append((fields[1].lower(), fields[4]))
            elif not line.strip() and sentence:
                yield sentence
                sentence = []


def vary_tags(sentence: Tagged) -> Iterator[list[str]]:
    """Yield tag sequences as in captions: as written; in the present, without "be" before -ing and first determiner."""
    tags = [tag for _, tag in sentence]
    yield tags
    present = ["VBZ" if tag == "VBD" else tag for tag in tags]
    following = [*tags[1:], ""]
    dropped = [
        tag
        for (word, _), tag, after in zip(sentence, present, following)
        if not (word in _BE and after == "VBG")
    ]
    yield dropped[1:] if dropped[0] == "DT" else dropped


def count_tags(treebanks: Iterable[Path]) -> tuple[dict[str, Counter[str]], Counter[tuple[str, str]]]:
    """Return tags of each word, and tag pairs with `^` before and `$` after each sentence."""
    words: dict[str, Counter[str]] = defaultdict(Counter)
    pairs: Counter[tuple[str, str]] = Counter()
    for path in treebanks:
        for sentence in read_tagged(path):
            for word, tag in sentence:
                words[word][tag] += 1
            for tags in vary_tags(sentence):
                pairs.update(zip(["^", *tags], [*tags, "$"]))
    return words, pairs


def count_suffixes(words: dict[str, Counter[str]]) -> dict[str, Counter[str]]:
    """Return tags of rare words by their last letters, for unknown words (Brants, TnT, 2000)."""
    endings: dict[str, Counter[str]] = defaultdict(Counter)
    for word, tags in words.items():
        if sum(tags.values()) <= 5 and word.isalpha():
            for length in range(1, min(_MAX_SUFFIX, len(word) - 2) + 1):
                endings[word[-length:]].update(tags)
    return {ending: tags for ending, tags in endings.items() if sum(tags.values()) >= 10}


def read_wordnet_tags(folder: Path, known: Iterable[str]) -> dict[str, set[str]]:
    """Return tags of WordNet's single words that are not in the treebanks."""
    seen = set(known)
    found: dict[str, set[str]] = defaultdict(set)
    for part, words in json.loads(gzip.decompress((folder / "en_lemma_index.json.gz").read_bytes())).items():
        for word in words:
            if word.isalpha() and word.islower() and word not in seen:
                found[word].add(WORDNET_FORMS[part])
    return found


def read_irregular_nouns(folder: Path) -> dict[str, str]:
    """Return singular by plural of irregular nouns."""
    exceptions = json.loads(gzip.decompress((folder / "en_lemma_exc.json.gz").read_bytes()))["noun"]
    return {form: lemmas[0] for form, lemmas in exceptions.items() if lemmas[0] != form and form.isalpha()}


def make_lexicon(treebanks: list[Path], wordnet: Path) -> str:
    """Return the lexicon: sections of sorted tab-separated lines, each under its name on a line without a tab."""
    words, pairs = count_tags(treebanks)
    common = {word: tags for word, tags in map(_drop_names, words.items()) if tags}
    sections = {
        "words": [f"{word}\t{_format_counts(tags)}" for word, tags in common.items()],
        "wordnet": [
            f"{w}\t{' '.join(sorted(tags))}" for w, tags in read_wordnet_tags(wordnet, common).items()
        ],
        "suffixes": [f"{ending}\t{_format_counts(tags)}" for ending, tags in count_suffixes(words).items()],
        "pairs": [f"{first}\t{second}\t{n}" for (first, second), n in pairs.items()],
        "plurals": [f"{form}\t{lemma}" for form, lemma in read_irregular_nouns(wordnet).items()],
    }
    return "".join(f"{name}\n" + "".join(f"{line}\n" for line in sorted(sections[name])) for name in sections)


def _drop_names(entry: tuple[str, Counter[str]]) -> tuple[str, Counter[str]]:
    """Return a word without name tags if it has others, since captions are seldom capitalized with care."""
    word, tags = entry
    common = Counter({tag: n for tag, n in tags.items() if tag not in _NAMES})
    return word, common or (tags if sum(tags.values()) > 1 else common)


def _format_counts(tags: Counter[str]) -> str:
    return " ".join(f"{tag}:{n}" for tag, n in sorted(tags.items()))


def main() -> None:
    """Run the command of the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--treebank", type=Path, action="append", required=True)
    parser.add_argument("--wordnet", type=Path, required=True, help="the data folder of spacy-lookups-data")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    data = lzma.compress(make_lexicon(arguments.treebank, arguments.wordnet).encode(), preset=9)
    arguments.out.write_bytes(data)
    print(f"{arguments.out}: {len(data)} bytes")


if __name__ == "__main__":
    main()
