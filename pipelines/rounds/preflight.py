"""Check the first teacher and the inputs other than the shards before labeling begins, which may take hours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.views import open_view
from pipelines.config.load import parse_settings
from pipelines.label.teacher_spec import TEACHER
from pipelines.rounds.lineage import hash_weights
from pipelines.rounds.settings import VIEW, FirstTeacher, RoundsConfig, Suite
from schemas.errors import ConfigError, NotFoundError
from schemas.labeler import NO_SCORE
from student.settings.streams import StreamSettings
from teacher.detectors.settings import DetectorSettings
from teacher.factories import locate_teacher
from teacher.labelers.glip_settings import GlipSettings, glip_digest, model_files
from teacher.models.hub import locate_model
from teacher.registry import TEACHERS, QueryKind, TeacherSettings, parse_teacher, recognize_model

_GLIP = "glip"
_RECALL_PREFIX = "R@"


@dataclass(frozen=True)
class TeacherIdentity:
    """What identifies the first teacher: in the keys of steps, and in the lineage."""

    key: dict[str, object]
    digest: str


def resolve_teacher(first: FirstTeacher) -> TeacherSettings:
    """Return the settings of the first teacher. A kind that is not named is recognized from the model.

    raises: NotFoundError for a model that does not exist, ConfigError for one of no kind and for wrong settings
    """
    values = first.settings()
    if first.kind is not None:
        return parse_teacher(values)
    path = Path(locate_model(first.model))
    if not path.exists():
        raise NotFoundError(
            f"teacher.model {first.model!r} does not exist; give the path of a model, or a hub id with its commit "
            "(owner/name@commit), or name teacher.kind"
        )
    kind, entry = recognize_model(path)
    return parse_settings({"kind": kind, **values}, entry.settings_class, (), "teacher")


def check_teacher(config: RoundsConfig, teacher: TeacherSettings) -> None:
    """Check that students can start, and that round 1 can be measured. Raises ConfigError and NotFoundError."""
    model = teacher.model or teacher.kind
    if config.begin == "teacher_start":
        _check_start(Path(str(config.teacher.start)))
    elif teacher.kind != _GLIP:
        raise ConfigError(
            f"begin is 'teacher', but teacher.model {model!r} is of kind {teacher.kind!r} and a student can start from "
            "a GLIP directory only; set `begin: teacher_start`, and teacher.start to a GLIP directory"
        )
    if config.average and teacher.kind != _GLIP:
        raise ConfigError(
            f"average is {config.average:g}, but teacher.model {model!r} is of kind {teacher.kind!r} and only weights "
            "of two GLIP models can be averaged; set average: 0, or use a GLIP model as teacher"
        )
    if TEACHERS.load(teacher.kind).query_kind is QueryKind.CLASSES:
        _check_classes(config, teacher)


def _check_start(start: Path) -> None:
    """Raise NotFoundError if the start of the students has no model, ConfigError for a model of another kind."""
    if not model_files(start):
        raise NotFoundError(
            f"teacher.start {str(start)!r} is not a model directory; give the GLIP directory from which the teacher "
            "was trained, or from which the students are to start"
        )
    if not TEACHERS.load(_GLIP).recognizes(start):
        raise ConfigError(
            f"teacher.start {str(start)!r} is not a GLIP directory, and a student can start from a GLIP directory "
            "only; see `groundswell model info`, and give a GLIP directory"
        )


def _check_classes(config: RoundsConfig, teacher: TeacherSettings) -> None:
    """Raise ConfigError for a guard or a suite in which a detector with fixed classes has no number."""
    from student.evaluate.detector_names import class_list, match_classes
    from student.evaluate.gold.load import read_gold

    for guard in config.guards:
        if guard.name.startswith(_RECALL_PREFIX):
            raise ConfigError(
                f"guard {guard.label()}: the teacher of round 1 is of kind {teacher.kind!r}, which finds classes and "
                "has no recall of phrases; remove the guard, or use an AP"
            )
    path = locate_teacher(teacher)
    classes = class_list(path, None, teacher.classes if isinstance(teacher, DetectorSettings) else None)
    for suite in config.evaluate:
        try:
            match_classes(path, classes, read_gold(Path(suite.gold))["categories"])
        except ConfigError as error:
            raise ConfigError(f"suite {suite.name}: {error}; in rounds: by teacher.classes") from error


def identify_teacher(config: RoundsConfig, teacher: TeacherSettings) -> TeacherIdentity:
    """Return what identifies the first teacher.

    A GLIP model is identified by its files, and by its settings where they change labels. A teacher of another kind is
    identified by the digest that its evidence records.
    raises: NotFoundError and ConfigError for a model that is missing or incomplete
    """
    if not isinstance(teacher, GlipSettings):
        digest = TEACHER.of_labeler(config.label.job(teacher, config.out)).digest
        return TeacherIdentity({"teacher": digest}, digest)
    folder = locate_teacher(teacher)
    files = model_files(folder)
    digest = glip_digest(teacher.model_copy(update={"model": str(folder)}))
    has_defaults = digest == glip_digest(GlipSettings(model=str(folder)))
    key: dict[str, object] = {"teacher": files} if has_defaults else {"teacher": files, "digest": digest}
    return TeacherIdentity(key, hash_weights(files))


def check_policies(config: RoundsConfig, teacher: TeacherSettings) -> None:
    """Raise ConfigError for a policy that needs regions or scores which the evidence of its round will not have."""
    teachers = [teacher, GlipSettings(model="student")][: config.rounds]
    for number, one in enumerate(teachers, start=1):
        policy, evidence = config.policy_of(number), config.label.job(one, config.out).evidence
        name = "policy" if policy is config.policy else "first_policy"
        try:
            policy.check_evidence(evidence)
            if not TEACHERS.load(one.kind).has_scores:
                policy.check_score_kind(NO_SCORE)
        except ConfigError as error:
            raise ConfigError(
                f"{name}, in round {number} with a teacher of kind {one.kind!r}: {error}. A policy for round 1 alone "
                "is set by first_policy"
            ) from error


def check_inputs(config: RoundsConfig) -> None:
    """Check gold, streams, suites, images and groups. Raises NotFoundError and ConfigError for a missing one."""
    open_view(config.gold)
    for training in (config.student, config.control):
        for stream in map(StreamSettings.model_validate, training["streams"]):
            if stream.url != VIEW:
                open_view(stream.url, stream.storage)
    groups = {suite.name: _read_groups(suite) for suite in config.evaluate}
    for measure in (config.target, *config.guards):
        if measure.group and measure.group not in groups[measure.suite]:
            raise ConfigError(
                f"{measure.label()}: suite {measure.suite} has no group {measure.group!r}; expected one of "
                f"{', '.join(sorted(groups[measure.suite])) or 'none'}; correct the group or group_by"
            )


def _read_groups(suite: Suite) -> set[str]:
    """Return the groups of a suite. Checks that its gold can be read and that its images exist."""
    from student.evaluate.gold.load import category_groups, read_gold

    gold = read_gold(Path(suite.gold))
    if suite.images is None and not any(image.get("pixels") for image in gold["images"]):
        raise ConfigError(
            f"suite {suite.name}: the gold names no image files; set `images` of the suite to a folder or shards"
        )
    local = (
        suite.images is not None
        and "://" not in suite.images
        and not suite.images.endswith((".tar", ".parquet"))
    )
    if local and not Path(str(suite.images)).is_dir():
        raise NotFoundError(
            f"suite {suite.name}: images {suite.images} does not exist; give a folder or shards (*.tar, *.parquet)"
        )
    return set(category_groups(gold, suite.group_by))
