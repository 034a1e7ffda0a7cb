"""The vocabulary of the released weights: bert-base-uncased, from a folder or the hub."""

from __future__ import annotations

import hashlib
from pathlib import Path

from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerBase

from schemas.errors import ConfigError, NotFoundError, RuntimeEnvironmentError

HUB_NAME = "google-bert/bert-base-uncased"
HUB_REVISION = "86b5e0934494bd15c9632b12f734a8a67f723594"
# Of the words in the order of their ids, one per line, as in the hub's vocab.txt at that revision.
VOCABULARY_SIZE = 30522
VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"


def load_bert_tokenizer(vocab_size: int, folder: Path | None) -> PreTrainedTokenizerBase:
    """Load the tokenizer of `folder` (vocab.txt or tokenizer.json), or without one the hub's at a pinned revision.

    raises: NotFoundError, RuntimeEnvironmentError if the hub cannot be reached, ConfigError for another vocabulary
    """
    tokenizer = _load_from_hub() if folder is None else _load_from_folder(folder)
    where = HUB_NAME if folder is None else str(folder)
    if len(tokenizer) != vocab_size:
        raise ConfigError(
            f"{where} has {len(tokenizer)} words, but the weights have {vocab_size}; give the directory of "
            "bert-base-uncased"
        )
    if vocab_size == VOCABULARY_SIZE and vocabulary_sha256(tokenizer) != VOCABULARY_SHA256:
        raise ConfigError(
            f"{where} has other words than bert-base-uncased, which GLIP was trained with; give its directory"
        )
    return tokenizer


def vocabulary_sha256(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a digest of the words in the order of their ids."""
    words = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    return hashlib.sha256("".join(f"{word}\n" for word, _ in words).encode()).hexdigest()


def _load_from_folder(folder: Path) -> PreTrainedTokenizerBase:
    if (folder / "tokenizer.json").is_file():
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if (folder / "vocab.txt").is_file():
        tokenizer: PreTrainedTokenizerBase = BertTokenizer(vocab=str(folder / "vocab.txt"))
        return tokenizer
    raise NotFoundError(f"--tokenizer {folder}: expected a directory with vocab.txt or tokenizer.json")


def _load_from_hub() -> PreTrainedTokenizerBase:
    try:
        return AutoTokenizer.from_pretrained(HUB_NAME, revision=HUB_REVISION, trust_remote_code=False)
    except OSError as error:
        raise RuntimeEnvironmentError(
            f"the tokenizer {HUB_NAME} is not in the cache and cannot be loaded from the hub; give a directory with "
            "its vocab.txt by --tokenizer DIR"
        ) from error
