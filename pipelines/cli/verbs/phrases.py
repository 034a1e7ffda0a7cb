"""The verb `phrases`: the phrases of captions, dropped ones with their reasons, and the prompts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.reading.captions import MAX_BYTES
from pipelines.cli.options import JSON
from pipelines.cli.verb import VerbFamily
from pipelines.terminal.output import print_result
from schemas.errors import ConfigError, NotFoundError
from teacher.phrases.chunkers.registry import CHUNKERS

if TYPE_CHECKING:
    from schemas.labeler import FoundPhrases
    from teacher.prompts.packing import Budget
    from teacher.settings import PhraseSettings

_BATCH_SIZE = 1024
ENTRY = VerbFamily(order=90)


@ENTRY.verb(
    "phrases",
    'groundswell phrases "a red dog in front of two boats"',
    "groundswell phrases --file captions.txt --json",
)
def phrases(
    caption: Annotated[str | None, typer.Argument(help="One caption.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="UTF-8 file with one caption per line; - reads stdin.")
    ] = None,
    pipeline: Annotated[
        str, typer.Option(help="bundled, lexicon, or a spaCy model by name or path.")
    ] = "bundled",
    chunker: Annotated[
        str, typer.Option(help=f"{', '.join(CHUNKERS.names())}, or module:attribute of your own.")
    ] = "noun_chunks",
    expressions: Annotated[
        bool, typer.Option("--expressions", help="Also find referring expressions.")
    ] = False,
    partitives: Annotated[
        str, typer.Option(help="Phrase of `a group of people`: inner (people) or whole.")
    ] = "inner",
    language: Annotated[
        str,
        typer.Option(
            help="Captions that are not English: skip (no phrases), given (only given spans), off (read as English), "
            "or a spaCy model."
        ),
    ] = "skip",
    teacher: Annotated[
        Path | None, typer.Option(help="GLIP directory whose tokenizer counts the tokens of the prompts.")
    ] = None,
    tokens: Annotated[int, typer.Option(min=8, help="Token budget of a prompt.")] = 256,
    actors: Annotated[
        int,
        typer.Option(
            min=0, help="Number of Ray CPU actors that find the phrases of a file; 0: this process."
        ),
    ] = 0,
    as_json: bool = JSON,
) -> None:
    """Show the phrases of a caption, or of each line of a file. With --json, print one object per line."""
    captions = _open_captions(caption, file)
    settings = _make_settings(
        pipeline=pipeline, chunker=chunker, expressions=expressions, partitives=partitives, language=language
    )
    from pipelines.labels.phrases import describe_caption, format_caption

    budget = _make_budget(teacher, tokens)
    colored = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for batch, answers in _find_phrases(settings, _batch(captions), actors):
        for text, found in zip(batch, answers, strict=True):
            if as_json:
                print_result(True, describe_caption(text, found, budget), "")
            else:
                print_result(False, None, format_caption(text, found, budget, colored))


def _batch(captions: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(captions, _BATCH_SIZE)):
        yield batch


def _find_phrases(
    settings: PhraseSettings, batches: Iterator[list[str]], actors: int
) -> Iterator[tuple[Sequence[str], list[FoundPhrases]]]:
    """Yield each batch with its phrases, found here or on Ray actors. The results are equal."""
    if actors == 0:
        from teacher.phrases.finder import SpacyPhraseFinder

        finder = SpacyPhraseFinder(settings)
        yield from ((batch, finder.find(batch)) for batch in batches)
        return
    from engine.executors.ray_phrases import find_phrases_in_order
    from engine.task import Factory
    from teacher.factories import finder_digest, make_finder

    plain = settings.model_dump(mode="json")
    factory = Factory(
        factory=f"{make_finder.__module__}:{make_finder.__name__}",
        arguments={"settings": plain},
        digest=finder_digest(plain),
    )
    yield from find_phrases_in_order(factory, batches, actors)


def _open_captions(caption: str | None, file: Path | None) -> Iterator[str]:
    if (caption is None) == (file is None):
        raise ConfigError(
            'give one caption, or --file with one caption per line: groundswell phrases "a red dog"'
        )
    if file is not None:
        return _read_lines(file)
    return iter([_decode(os.fsencode(str(caption)), "the caption")])


def _read_lines(file: Path) -> Iterator[str]:
    with sys.stdin.buffer if str(file) == "-" else open(file, "rb") as lines:
        for number, line in enumerate(iter(lambda: lines.readline(MAX_BYTES + 3), b""), 1):
            yield _decode(line.rstrip(b"\r\n"), f"{file}:{number}")


def _decode(data: bytes, where: str) -> str:
    """Return a caption that `label` would accept, too. Raises ConfigError if it is too long or not UTF-8."""
    if len(data) > MAX_BYTES:
        raise ConfigError(
            f"the line has more than {MAX_BYTES} bytes, the longest caption allowed; expected one caption per line",
            where=where,
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 ({error.reason}); save the captions as UTF-8", where=where) from None


def _make_settings(**options: str | bool) -> PhraseSettings:
    from pydantic import ValidationError

    from teacher.settings import PhraseSettings

    try:
        return PhraseSettings.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        option = f"--{first['loc'][0]} {first['input']!r}: " if first["loc"] else ""
        raise ConfigError(f"{option}{first['msg']}") from None


def _make_budget(teacher: Path | None, tokens: int) -> Budget:
    from pipelines.labels.phrases import word_budget
    from teacher.prompts.packing import Budget

    if teacher is None:
        return word_budget(tokens)
    from teacher.labelers.glip_settings import model_files
    from teacher.models.glip import GlipProcessor

    if "processor_config.json" not in model_files(teacher):
        raise NotFoundError(
            f"--teacher {teacher} has no processor_config.json; give a directory written by `groundswell train` or "
            "`groundswell model convert-glip`"
        )
    processor = GlipProcessor.from_pretrained(str(teacher), local_files_only=True)
    return Budget(min(tokens, processor.max_tokens), processor.token_count)
