"""The verb that shows what would be asked about captions: phrases, dropped ones with their reasons, prompts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.reading.captions import MAX_BYTES
from pipelines.cli.shell import JSON, example, give, verb
from schemas.errors import ConfigError, NotFound
from teacher.phrases.chunkers.registry import CHUNKERS

if TYPE_CHECKING:
    from schemas.labeler import FoundPhrases
    from teacher.prompts.packing import Budget
    from teacher.settings import PhraseSettings

_AT_ONCE = 1024


def add_verbs(app: typer.Typer) -> None:
    """Add this family to the command line."""
    shown = example(
        'groundswell phrases "a red dog in front of two boats"',
        "groundswell phrases --file captions.txt --json",
    )
    app.command("phrases", epilog=shown)(phrases)


@verb
def phrases(
    caption: Annotated[str | None, typer.Argument(help="One caption.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="A UTF-8 file with one caption a line; - for stdin.")
    ] = None,
    pipeline: Annotated[
        str, typer.Option(help="bundled, lexicon, or a spaCy model by name or path.")
    ] = "bundled",
    chunker: Annotated[
        str, typer.Option(help=f"{', '.join(CHUNKERS.names())}, or module:attribute of your own.")
    ] = "noun_chunks",
    expressions: Annotated[bool, typer.Option("--expressions", help="Also referring expressions.")] = False,
    partitives: Annotated[str, typer.Option(help="`a group of people`: inner or whole.")] = "inner",
    language: Annotated[
        str, typer.Option(help="Other languages: skip, given, off, or a spaCy model.")
    ] = "skip",
    teacher: Annotated[
        Path | None, typer.Option(help="A GLIP directory whose tokenizer counts the prompts' tokens.")
    ] = None,
    tokens: Annotated[int, typer.Option(min=8, help="Token budget of a prompt.")] = 256,
    actors: Annotated[
        int, typer.Option(min=0, help="Find phrases of a file on so many Ray CPU actors; 0: in this process.")
    ] = 0,
    as_json: bool = JSON,
) -> None:
    """Show the phrases of a caption, or of every line of a file; with --json one object a line."""
    captions = _captions(caption, file)
    settings = _settings(
        pipeline=pipeline, chunker=chunker, expressions=expressions, partitives=partitives, language=language
    )
    from pipelines.labels.phrases import data_of, text_of

    budget = _budget(teacher, tokens)
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for batch, answers in _found(settings, _batches(captions), actors):
        for text, found in zip(batch, answers, strict=True):
            if as_json:
                give(True, data_of(text, found, budget), "")
            else:
                give(False, None, text_of(text, found, budget, colour))


def _batches(captions: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(captions, _AT_ONCE)):
        yield batch


def _found(
    settings: PhraseSettings, batches: Iterator[list[str]], actors: int
) -> Iterator[tuple[Sequence[str], list[FoundPhrases]]]:
    """Each batch with what was found in it, here or on Ray actors: the same either way."""
    if actors == 0:
        from teacher.phrases.finder import SpacyPhraseFinder

        finder = SpacyPhraseFinder(settings)
        yield from ((batch, finder.find(batch)) for batch in batches)
        return
    from engine.executors.ray_phrases import found_in_order
    from engine.task import Factory
    from teacher import build

    plain = settings.model_dump(mode="json")
    factory = Factory(
        factory=f"{build.__name__}:{build.finder.__name__}",
        arguments={"settings": plain},
        digest=build.finder_digest(plain),
    )
    yield from found_in_order(factory, batches, actors)


def _captions(caption: str | None, file: Path | None) -> Iterator[str]:
    if (caption is None) == (file is None):
        raise ConfigError(
            'give one caption, or --file with one caption a line: groundswell phrases "a red dog"'
        )
    if caption is not None:
        return iter([_text(os.fsencode(caption), "the caption")])
    return _lines(file)  # type: ignore[arg-type]


def _lines(file: Path) -> Iterator[str]:
    with sys.stdin.buffer if str(file) == "-" else open(file, "rb") as lines:
        for number, line in enumerate(iter(lambda: lines.readline(MAX_BYTES + 3), b""), 1):
            yield _text(line.rstrip(b"\r\n"), f"{file}:{number}")


def _text(data: bytes, where: str) -> str:
    """A caption that `label` would take, too: UTF-8, and no longer than its bound."""
    if len(data) > MAX_BYTES:
        raise ConfigError(
            f"more than {MAX_BYTES} bytes, which is no caption: one stands on a line", where=where
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{error.reason}; captions are UTF-8", where=where) from None


def _settings(**given: Any) -> Any:
    from pydantic import ValidationError

    from teacher.settings import PhraseSettings

    try:
        return PhraseSettings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"--{first['loc'][0]} {first['input']!r}: {first['msg']}") from None


def _budget(teacher: Path | None, tokens: int) -> Budget:
    from pipelines.labels.phrases import word_budget
    from teacher.prompts.packing import Budget

    if teacher is None:
        return word_budget(tokens)
    from teacher.labelers.glip_settings import model_files
    from teacher.models.glip import GlipProcessor

    if "processor_config.json" not in model_files(teacher):
        raise NotFound(
            f"--teacher {teacher} holds no processor_config.json; give a directory written by `groundswell train` or "
            "`groundswell model convert-glip`"
        )
    processor = GlipProcessor.from_pretrained(str(teacher), local_files_only=True)
    return Budget(min(tokens, processor.max_tokens), processor.token_count)
