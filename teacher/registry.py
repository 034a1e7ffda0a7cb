"""The known teachers. `teacher.kind` of a job names one.

To add one, write a file in `teacher/labelers/` that defines `ENTRY`, an instance of a subclass of `Teacher`. A package
adds one by the entry-point group `groundswell.teachers`. A job may also name `module:attribute` as its kind.

Everything that depends on the kind asks the entry: the settings of a job, the digest on the driver, the labeler in a
worker, and which teacher a model's files belong to. Entries are imported only when needed, and import torch and the
like only inside `make`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, ClassVar, Generic, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializeAsAny,
    TypeAdapter,
    field_validator,
)
from pydantic_core import core_schema

from schemas.digests import digest_of, file_sha256
from schemas.errors import ConfigError, NotFoundError
from schemas.labeler import NO_SCORE
from schemas.registry import REFERENCE_PATTERN, Registry
from schemas.settings import CompatibleSettings
from teacher import labelers
from teacher.prompts.packing import Budget
from teacher.user_class import UserClass, UserClassLabeler, is_user_class, read_class_digest

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

    from schemas.labeler import Labeler


class TeacherSettings(CompatibleSettings):
    """Base of a teacher's settings."""

    model_is_path: ClassVar[bool] = True
    """Whether `model` is a path or a hub id. Otherwise it is a name elsewhere, and never made absolute."""

    kind: str = Field(description="name of a teacher, or module:attribute of your own")
    model: str = Field(description="path of the model")


class QueryKind(Enum):
    """What a teacher can be asked for."""

    PHRASES = "any phrase"
    CLASSES = "the classes of a detector"


@dataclass(frozen=True)
class LabelerOptions:
    """What a job decides about its labeler, besides the teacher's settings."""

    batch_size: int
    min_score: float
    """Regions with a lower raw score are not returned."""
    has_long_phrases: bool = False
    """Whether the job asks for expressions or given spans, which may continue after their head noun."""
    has_guessed_heads: bool = False
    """Whether the job has given spans and no parser, so that the `root` of a given span is only its last noun."""


S = TypeVar("S", bound=TeacherSettings)
AUTO_ROWS_ON_GPU = 64
"""Rows of a batch on a GPU to begin with, where a job says `batch_size: auto`."""


class Teacher(Generic[S]):
    """One kind of teacher. A subclass sets `description` and `settings_class` and defines `make`."""

    description: str
    """One clause for help texts and the documentation."""
    settings_class: type[S]
    version: int = 1
    """Raise it if the same model gives other regions. It is part of the digest."""
    query_kind: QueryKind = QueryKind.PHRASES
    """How `evaluate` asks it: by prompts, or by its classes."""
    has_scores: bool = True
    """Whether its regions have scores. Otherwise `score_kind` is `none`, and policies may not use scores."""
    takes_decoys: bool = False
    """Whether its labeler is a `DecoyLabeler`."""
    min_score: float = 0.05
    """The floor of the evidence if a job gives none. Raw scores of different kinds are on different scales."""
    starting_policy: Mapping[str, float] = MappingProxyType({"min_score": 0.5})
    """Policy fields to begin with, for raw scores of this kind."""
    scores_from: str = ""
    """Where floor and starting policy come from."""

    def __init__(self) -> None:
        """Check the class. Raises ConfigError if it lacks `description` or `settings_class`."""
        missing = [name for name in ("description", "settings_class") if getattr(self, name, None) is None]
        if missing:
            raise ConfigError(
                f"the class {type(self).__qualname__} has no {' and no '.join(missing)}; set what is missing in its "
                "body, as docs/how-to/add-a-teacher.md shows"
            )

    def make(self, settings: S, options: LabelerOptions) -> Labeler:
        """Load the model and return its labeler, whose `digest` is `self.digest(settings, ...)`."""
        raise NotImplementedError

    def digest(self, settings: S, has_long_phrases: bool = False) -> str:
        """Return the labeler's digest without loading the model.

        It covers everything that decides labels: kind, version, settings and the bytes of the model's files, but not
        where they are. Raises NotFoundError if the model does not exist.
        """
        return digest_of(
            {
                "kind": settings.kind,
                "version": self.version,
                "settings": settings.model_dump(mode="json", exclude={"kind", "model"}),
                "files": model_digests(Path(settings.model)),
            }
        )

    def job_digest(self, settings: S, has_long_phrases: bool = False, has_guessed_heads: bool = False) -> str:
        """Return the labeler's digest for a job with such phrases. Override it if guessed heads change labels."""
        return self.digest(settings, has_long_phrases)

    def choose_batch_size(self, settings: S) -> int:
        """Return the rows of a batch where a job says `auto`. Runs where the labeler is made.

        One on a CPU, where a row costs the same in any batch. Many on a GPU: the engine halves them whenever the memory
        is too small.
        """
        device = getattr(settings, "device", "cpu")
        if device == "cpu":
            return 1
        import torch

        return AUTO_ROWS_ON_GPU if torch.cuda.is_available() else 1

    def recognizes(self, path: Path) -> bool:
        """Return whether the file or directory is a model of this teacher. Must not load it."""
        return False

    def describe(self, path: Path) -> dict[str, JsonValue]:
        """Return what `model info` prints about a model that this teacher recognizes."""
        return {"path": str(path), "description": self.description, "files": dict(model_digests(path))}

    def prompt_budget(self, path: Path) -> Budget:
        """Return how many tokens one prompt of the model may have. Only for a teacher that is asked by phrases."""
        return Budget(sys.maxsize, len)

    def tuned_prompt(self, path: Path) -> str | None:
        """Return the one prompt that the model can be asked, None if it takes any."""
        return None


class UserSettings(TeacherSettings):
    """A class of the user as teacher (`teacher.user_class` has the protocol)."""

    model: str = Field("", description="path or hub id of the model, if the class reads one")
    options: dict[str, JsonValue] = Field({}, description="further arguments of the class")


class UserTeacher(Teacher[UserSettings]):
    """The entry of a class of the user, named `module:Class` as kind of a job."""

    description = "what a class of the user reads"
    scores_from = "the class alone knows its scores"
    takes_decoys = True
    settings_class = UserSettings

    def __init__(self, user_class: type[UserClass], name: str) -> None:
        """Keep the class. Raises ConfigError for one without `digest`."""
        self._class = user_class
        self._class_digest = read_class_digest(user_class, name)
        self.has_scores = getattr(user_class, "score_kind", "") != NO_SCORE

    def make(self, settings: UserSettings, options: LabelerOptions) -> Labeler:
        return UserClassLabeler(
            self._class,
            settings.model,
            settings.options,
            batch_size=options.batch_size,
            min_score=options.min_score,
            digest=self.digest(settings),
        )

    def digest(self, settings: UserSettings, has_long_phrases: bool = False) -> str:
        """Return the digest of the class's own digest, its options and the model's files, so that none can hide."""
        return digest_of(
            {
                "kind": settings.kind,
                "class": self._class_digest,
                "options": settings.options,
                "files": model_digests(Path(settings.model)) if settings.model else {},
            }
        )


def _adapt_user_class(value: object, reference: str) -> Teacher[TeacherSettings] | None:
    if not is_user_class(value):
        return None
    return cast("Teacher[TeacherSettings]", UserTeacher(value, reference))


TEACHERS: Registry[Teacher[TeacherSettings]] = Registry(
    labelers.__name__,
    Teacher,
    noun="teacher",
    group="groundswell.teachers",
    name_of_file=lambda name: name.replace("_", "-"),
    adapt=_adapt_user_class,
    setting="teacher.kind",
)


def model_digests(path: Path) -> dict[str, str]:
    """Return the sha256 of a model file, or of each file in a model directory, by name. Raises NotFoundError."""
    if not path.exists():
        raise NotFoundError(f"teacher.model {str(path)!r} does not exist; give the path of a model")
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    return {
        (file.name if file == path else file.relative_to(path).as_posix()): file_sha256(file)
        for file in files
    }


def recognize_model(path: Path, also: str = "") -> tuple[str, Teacher[TeacherSettings]]:
    """Return kind and entry of the teacher that a model file or directory belongs to.

    also: what else the caller accepts, for the error
    raises: NotFoundError for a path that does not exist, ConfigError for a model of no teacher, or of more than one
    """
    known = TEACHERS.load_all()
    matches = [kind for kind, entry in known.items() if entry.recognizes(path)]
    if not matches:
        problem = NotFoundError if not path.exists() else ConfigError
        expected = [entry.description for entry in known.values()] + ([also] if also else [])
        if (near := find_model_near(path)) is not None:
            raise problem(f"{path} is not a known model, but {near} is one; use {near}")
        raise problem(f"{path} is not a known model; expected {' or '.join(expected)}")
    if len(matches) > 1:
        raise ConfigError(
            f"{path} is a model of several teachers: {', '.join(matches)}; uninstall the package of the wrong one"
        )
    return matches[0], known[matches[0]]


def find_model_near(path: Path) -> Path | None:
    """Return the model in the folder of a training (`model`), of rounds or of a demo, or around one of its files."""
    known = TEACHERS.load_all().values()
    if path.is_dir():
        folders = [path / "model", *sorted(one for one in path.iterdir() if one.is_dir())]
        places = [*folders, *(folder / "model" for folder in folders)]
    else:
        places = [path.parent] if path.exists() else []
    return next((one for one in places if any(entry.recognizes(one) for entry in known)), None)


def parse_teacher(values: object) -> TeacherSettings:
    """Return a teacher's settings from plain values. Raises ValueError, or ValidationError with the wrong field."""
    if isinstance(values, TeacherSettings):
        return values
    if not isinstance(values, Mapping):
        raise ValueError("expected a mapping with kind and model")
    entry = TEACHERS.load(_KindOnly.model_validate(values).kind)
    return entry.settings_class.model_validate(values)


class _KindOnly(BaseModel):
    """Reads `kind` first, so that an error is reported at that key."""

    model_config = ConfigDict(extra="ignore")

    kind: str

    @field_validator("kind")
    @classmethod
    def _check_kind(cls, kind: str) -> str:
        return TEACHERS.check(kind)


class OwnTeacherSettings(TeacherSettings):
    """A teacher of your own. Its further settings are those of its class."""

    model_config = ConfigDict(extra="allow")

    kind: str = Field(pattern=REFERENCE_PATTERN, description="module:attribute of your own teacher")


class _ByKind:
    """Pydantic annotation: settings are validated by the entry of their kind, and the schema is a union of all."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[TeacherSettings], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(parse_teacher, handler(source))

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        choices: dict[str, core_schema.CoreSchema] = {}
        for kind, entry in TEACHERS.load_all().items():
            choices[kind] = TypeAdapter(entry.settings_class).core_schema
        schema = handler(core_schema.tagged_union_schema(choices, "kind"))
        # `anyOf`, because a teacher of a package may leave `kind` a plain text, which matches one's own too
        schema["anyOf"] = [*schema.pop("oneOf"), handler(TypeAdapter(OwnTeacherSettings).core_schema)]
        return schema


TeacherSection = Annotated[SerializeAsAny[TeacherSettings], _ByKind]
"""A job's `teacher` section: settings of whichever kind it names."""
