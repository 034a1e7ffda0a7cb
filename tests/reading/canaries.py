"""Planted code, one canary for each way in: each sings for a naive reader, and must be silent for ours.

`python -m tests.reading.canaries FOLDER` prints one JSON object: by name, whether it sang for the naive reader, for
ours, and what ours reported. A canary sings by creating a file, so it is heard from any process.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.engine.worlds import job_of, picture, tar_bytes

Act = Callable[[Path], Any]
CANARIES: dict[str, tuple[Act, Act, Act]] = {}
CAPTION = b"a red patch"


class Song:
    """An object that creates the file `sung` in a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "sung"

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def canary(name: str, plant: Act, naive: Act, ours: Act) -> None:
    """Register a canary: `plant` writes the files into a folder; `naive` and `ours` read them."""
    CANARIES[name] = (plant, naive, ours)


def sing(folder: Path) -> str:
    """Return Python source that creates the file."""
    return f"import pathlib; pathlib.Path({str(folder / 'sung')!r}).touch()\n"


# --- members of a tar


def plant_member(suffix: str) -> Act:
    def plant(folder: Path) -> None:
        if suffix == "pth":
            import torch

            torch.save(Song(folder), folder / "song")
        else:
            (folder / "song").write_bytes(pickle.dumps(Song(folder)))
        song = (folder / "song").read_bytes()
        (folder / "a.tar").write_bytes(
            tar_bytes([("k.jpg", picture()), ("k.txt", CAPTION), (f"k.{suffix}", song)])
        )

    return plant


def webdataset_decodes(folder: Path) -> None:
    import webdataset

    list(webdataset.WebDataset(str(folder / "a.tar"), shardshuffle=False).decode())


def label_tar(folder: Path) -> str:
    from pipelines.label.run import label
    from tests.engine.small_teacher import FACTORIES

    return str(
        label(job_of(folder, [folder / "a.tar"], input={"keep": ["x"]}), factories=FACTORIES)["samples"]
    )


for _suffix in ("pkl", "pickle", "pyd", "pth"):
    canary(f"a .{_suffix} member of a tar", plant_member(_suffix), webdataset_decodes, label_tar)


# --- URLs


def webdataset_opens_pipe(folder: Path) -> None:
    import webdataset

    webdataset.gopen(f"pipe:touch {folder / 'sung'}").read()


def label_pipe(folder: Path) -> str:
    from pipelines.label.run import label
    from tests.engine.small_teacher import FACTORIES

    return str(label(job_of(folder, [f"pipe:touch {folder / 'sung'}"]), factories=FACTORIES)["failures"])


canary("a pipe: URL as shard", lambda folder: None, webdataset_opens_pipe, label_pipe)


# --- models


def pickled_model(name: str) -> Act:
    def plant(folder: Path) -> None:
        import torch

        torch.save({"model": Song(folder)}, folder / name)

    return plant


def torch_loads(name: str) -> Act:
    def naive(folder: Path) -> None:
        import torch

        torch.load(folder / name, weights_only=False)

    return naive


def detector(name: str) -> Act:
    return lambda folder: made({"kind": "detector", "model": str(folder / name)})


def made(settings: dict[str, Any]) -> Any:
    """Do what `label` does with a teacher: compute its digest, then load it."""
    from teacher import factories

    factories.labeler_digest(settings)
    return factories.make_labeler(settings, 1, 0.1)


def glip_folder(folder: Path) -> Path:
    """Write a small GLIP, as `train` does."""
    from teacher.models.glip import GlipForGrounding, GlipProcessor, tiny_world
    from teacher.models.glip.tokenizers.word import make_word_tokenizer

    tokenizer = make_word_tokenizer(("a", "red", "patch"))
    target = folder / "glip"
    GlipForGrounding(tiny_world(len(tokenizer))).save_pretrained(target)
    GlipProcessor(tokenizer).save_pretrained(target)
    return target


def glip_with_pickled_weights(folder: Path) -> None:
    import torch

    target = glip_folder(folder)
    torch.save(Song(folder), target / "pytorch_model.bin")
    (target / "model.safetensors").unlink()


def glip_with_code(*files: str) -> Act:
    """Let the files' `auto_map` name a module next to them."""

    def plant(folder: Path) -> None:
        target = glip_folder(folder)
        (target / "evil.py").write_text(sing(folder) + "class Evil: pass\n")
        names = (
            "AutoConfig",
            "AutoModel",
            "AutoProcessor",
            "AutoImageProcessor",
            "AutoModelForZeroShotObjectDetection",
        )
        every = dict.fromkeys(names, "evil.Evil") | {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
        for file in files:
            path = target / file
            content = json.loads(path.read_text()) if path.exists() else {}
            path.write_text(json.dumps(content | {"auto_map": every, "trust_remote_code": True}))

    return plant


def tokenizer_is_trusted(folder: Path) -> None:
    import transformers

    transformers.AutoTokenizer.from_pretrained(folder / "glip", trust_remote_code=True)


def auto_map_is_followed(folder: Path) -> None:
    """Load as the Auto classes do under trust_remote_code, for an unregistered kind of model."""
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    get_class_from_dynamic_module("evil.Evil", folder / "glip")


def glip(folder: Path) -> Any:
    return made({"kind": "glip", "model": str(folder / "glip")})


def student_starts(folder: Path) -> Any:
    from teacher.models.glip import GlipForGrounding

    return GlipForGrounding.from_pretrained(folder / "glip")


def convert_checkpoint(folder: Path) -> str:
    from teacher.models.glip.checkpoint.unpickle import main

    assert main([str(folder / "model.pth"), str(folder / "out.safetensors"), "model"]) == 1
    return "refused"


def load_array(folder: Path) -> None:
    import numpy as np

    np.load(folder / "model.npz", allow_pickle=True)["x"]


def plant_array(folder: Path) -> None:
    import numpy as np

    np.savez(folder / "model.npz", x=np.array([Song(folder)], dtype=object))


def unpickles(name: str) -> Act:
    return lambda folder: pickle.loads((folder / name).read_bytes())  # noqa: S301  (the naive reader)


for _name in ("model.pt", "model.bin", "model.ckpt"):
    canary(f"{_name} as detector", pickled_model(_name), torch_loads(_name), detector(_name))
canary(
    "model.joblib as detector",
    lambda folder: (folder / "model.joblib").write_bytes(pickle.dumps(Song(folder))),
    unpickles("model.joblib"),
    detector("model.joblib"),
)
canary("model.npz as detector", plant_array, load_array, detector("model.npz"))
canary(
    "pickled weights in a model folder",
    glip_with_pickled_weights,
    torch_loads("glip/pytorch_model.bin"),
    glip,
)
canary(
    "pickled weights as a training's start",
    glip_with_pickled_weights,
    torch_loads("glip/pytorch_model.bin"),
    student_starts,
)
canary("auto_map of a model's config", glip_with_code("config.json"), auto_map_is_followed, glip)
canary("auto_map of a tokenizer", glip_with_code("tokenizer_config.json"), tokenizer_is_trusted, glip)
canary(
    "auto_map of a processor",
    glip_with_code("processor_config.json", "preprocessor_config.json"),
    auto_map_is_followed,
    glip,
)
canary("a checkpoint to convert", pickled_model("model.pth"), torch_loads("model.pth"), convert_checkpoint)


# --- Parquet, with ray.data in the process: it registers an extension type that unpickles


def ray_column(folder: Path) -> Any:
    import pyarrow as pa
    from ray.data._internal.object_extensions.arrow import ArrowPythonObjectType

    kind = ArrowPythonObjectType()
    return pa.ExtensionArray.from_storage(kind, pa.array([pickle.dumps(Song(folder))], kind.storage_type))


def write_table(name: str, columns: Callable[[], dict[str, Any]]) -> Act:
    def plant(folder: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({**columns(), "evil": ray_column(folder)}), folder / name)

    return plant


def arrow_reads(name: str) -> Act:
    def naive(folder: Path) -> None:
        import pyarrow.parquet as pq

        pq.read_table(folder / name).to_pylist()

    return naive


def label_parquet(folder: Path) -> str:
    from pipelines.label.run import label
    from tests.engine.small_teacher import FACTORIES

    section = {"format": "parquet", "keep": ["evil"]}
    return str(label(job_of(folder, [folder / "a.parquet"], input=section), factories=FACTORIES)["failures"])


def ours_reads(schema_name: str) -> Act:
    def ours(folder: Path) -> Any:
        from engine.storage.safe_parquet import read_table
        from schemas import arrow

        return read_table((folder / "a.parquet").read_bytes(), getattr(arrow, schema_name), "a.parquet")

    return ours


_SHARD = write_table("a.parquet", lambda: {"jpg": [picture()], "caption": ["a red patch"]})
canary("an extension type in a shard", _SHARD, arrow_reads("a.parquet"), label_parquet)
for _schema in ("EVIDENCE", "VIEW"):
    canary(
        f"an extension type in a file of {_schema.lower()}",
        write_table("a.parquet", lambda: {"unit": ["u"]}),
        arrow_reads("a.parquet"),
        ours_reads(_schema),
    )


# --- configurations


def plant_yaml(folder: Path) -> None:
    tag = f'!!python/object/apply:os.open ["{folder / "sung"}", 66]'
    (folder / "a.yaml").write_text(f"input: {tag}\nmin_score: {tag}\n")


def yaml_loads(folder: Path) -> None:
    import yaml

    yaml.unsafe_load((folder / "a.yaml").read_text())


def load_as(model: str) -> Act:
    def ours(folder: Path) -> Any:
        from pipelines.compile.policy import Policy
        from pipelines.config import load_settings
        from pipelines.label.job import JobConfig

        return load_settings(folder / "a.yaml", {"job": JobConfig, "policy": Policy}[model])

    return ours


def override(folder: Path) -> Any:
    from pipelines.config import parse_overrides

    return parse_overrides([(folder / "a.yaml").read_text().splitlines()[0].replace(": ", "=", 1)])


canary("a tag in a job file", plant_yaml, yaml_loads, load_as("job"))
canary("a tag in a policy", plant_yaml, yaml_loads, load_as("policy"))
canary("a tag in an override", plant_yaml, yaml_loads, override)


# --- a spaCy pipeline, and what Pillow would start


def plant_spacy(folder: Path) -> None:
    import spacy

    package = folder / "evil_pipeline"
    model = package / "evil_pipeline-1.0"
    package.mkdir()
    spacy.blank("en").to_disk(model)
    code = (
        sing(folder)
        + "import spacy\n@spacy.registry.callbacks('evil')\ndef make():\n    return lambda nlp: nlp\n"
    )
    for place in (package / "__init__.py", model / "__init__.py", model / "functions.py"):
        place.write_text(code)
    (package / "meta.json").write_text((model / "meta.json").read_text())
    config = (model / "config.cfg").read_text()
    (model / "config.cfg").write_text(
        config.replace("after_creation = null", 'after_creation = {"@callbacks":"evil"}')
    )


def spacy_loads(folder: Path) -> None:
    import spacy

    sys.path.insert(0, str(folder))
    try:
        spacy.util.load_model_from_package("evil_pipeline")
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("evil_pipeline", None)


def find_phrases(place: str) -> Act:
    def ours(folder: Path) -> Any:
        from teacher import factories

        sys.path.insert(0, str(folder))
        try:
            settings = {
                "pipeline": str(folder / "evil_pipeline" / "evil_pipeline-1.0")
                if place == "path"
                else "evil_pipeline"
            }
            factories.finder_digest(settings)
            return factories.make_finder(settings)
        finally:
            sys.path.remove(str(folder))

    return ours


canary("a spaCy folder with code and a callback", plant_spacy, spacy_loads, find_phrases("path"))
canary("a spaCy package by name", plant_spacy, spacy_loads, find_phrases("name"))


def plant_eps(folder: Path) -> None:
    """Let Pillow pass PostScript to the program `gs`, which here is one that sings."""
    program = folder / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {folder / 'sung'}\n")
    program.chmod(0o755)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n%%EOF\n"
    (folder / "a.tar").write_bytes(tar_bytes([("k.jpg", eps), ("k.txt", CAPTION)]))
    (folder / "a.eps").write_bytes(eps)


def with_program(act: Act) -> Act:
    def run(folder: Path) -> Any:
        before = os.environ["PATH"]
        os.environ["PATH"] = f"{folder / 'bin'}:{before}"
        try:
            return act(folder)
        finally:
            os.environ["PATH"] = before

    return run


def pillow_opens(folder: Path) -> None:
    from PIL import EpsImagePlugin, Image

    EpsImagePlugin.gs_binary = None
    Image.open(io.BytesIO((folder / "a.eps").read_bytes())).load()


canary("PostScript that is called .jpg", plant_eps, with_program(pillow_opens), with_program(label_tar))


def attempt(act: Act, folder: Path) -> str:
    """Return the result; a refusal is one."""
    try:
        return f"read: {act(folder)}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def let_loose(name: str, root: Path) -> dict[str, Any]:
    """Run both readers on files of their own: ours first, so that the naive one cannot affect it."""
    plant, naive, ours = CANARIES[name]
    heard: dict[str, Any] = {}
    for reader, act in (("ours", ours), ("naive", naive)):
        folder = root / f"{list(CANARIES).index(name):02d}-{reader}"
        folder.mkdir()
        plant(folder)
        (folder / "sung").unlink(missing_ok=True)
        said = attempt(act, folder)
        heard[reader] = (folder / "sung").exists()
        if reader == "ours":
            heard["said"] = said[:300]
    return heard


def main(root: Path, names: list[str]) -> None:
    import ray.data  # noqa: F401  (registers its extension types, as in a worker that merely imports it)

    print(json.dumps({name: let_loose(name, root) for name in names or CANARIES}))


def heard_in_a_child(root: Path) -> dict[str, dict[str, Any]]:
    """Run all canaries in one process that would answer yes to every question."""
    environment = os.environ | {"HF_MODULES_CACHE": str(root / "modules"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "tests.reading.canaries", str(root)]
    done = subprocess.run(
        command, input="y\n" * 200, capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    shutil.rmtree(root / "modules", ignore_errors=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-3_000:])
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
