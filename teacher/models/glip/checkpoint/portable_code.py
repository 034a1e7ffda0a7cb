"""Save GLIP's code next to its weights, so that a plain `transformers` can load the directory.

`AutoModel.from_pretrained(folder, trust_remote_code=True)` imports Python files that lie flat in the model's directory
and import one another by relative imports. So every module that the model needs is copied under a flat name, and its
imports of our packages are rewritten. Groundswell itself never reads these files.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

from pydantic import JsonValue

from schemas import PACKAGES
from teacher.models.glip import config, modeling, processing
from teacher.models.glip.images import processor as image_processor
from teacher.models.glip.images.steps import ImageSteps

_PREFIX = "glip"
_PROCESSOR, _IMAGE_PROCESSOR = "processor_config.json", "preprocessor_config.json"
_ROOT = Path(__file__).parents[len(__name__.split(".")) - 1]
_IMPORT = re.compile(rf"^(\s*)from ((?:{'|'.join(PACKAGES)})\.[\w.]+) import", re.MULTILINE)
_NOTICE = "# From Groundswell, Apache-2.0. Written with the model; see README.md.\n"


def write_code(folder: Path) -> list[str]:
    """Write the code into a saved model directory and name it in its `auto_map`. Return the names of the files."""
    modules = _find_modules([part.__name__ for part in (config, modeling, processing, image_processor)])
    for module, path in modules.items():
        source = _IMPORT.sub(
            lambda match: f"{match[1]}from .{_flatten(match[2])} import", path.read_text("utf-8")
        )
        (folder / f"{_flatten(module)}.py").write_text(_NOTICE + source, encoding="utf-8")
    model, images = _flatten(modeling.__name__), _flatten(image_processor.__name__)
    _set_auto_map(
        folder / "config.json",
        {
            # not in the image settings, from where a pipeline would guess a video processor and ask to run its code
            "AutoImageProcessor": f"{images}.{image_processor.GlipImageProcessor.__name__}",
            "AutoConfig": f"{_flatten(config.__name__)}.{config.GlipConfig.__name__}",
            "AutoModel": f"{model}.{modeling.GlipModel.__name__}",
            "AutoModelForZeroShotObjectDetection": f"{model}.{modeling.GlipForGrounding.__name__}",
        },
    )
    processor = f"{_flatten(processing.__name__)}.{processing.GlipProcessor.__name__}"
    _set_auto_map(folder / _PROCESSOR, {"AutoProcessor": processor})
    _write_image_settings(folder)
    return sorted(f"{_flatten(module)}.py" for module in modules)


def _write_image_settings(folder: Path) -> None:
    """Write the image settings of the processor a second time, where `AutoImageProcessor` reads them."""
    values = json.loads((folder / _PROCESSOR).read_text(encoding="utf-8"))
    settings = {name: values[name] for name in ImageSteps.__annotations__ if name in values}
    _write_json(folder / _IMAGE_PROCESSOR, settings)


def _find_modules(names: list[str]) -> dict[str, Path]:
    """Return the files of modules and of everything that they import from our packages."""
    found: dict[str, Path] = {}
    while names:
        name = names.pop()
        if name in found:
            continue
        found[name] = _ROOT.joinpath(*name.split(".")).with_suffix(".py")
        for node in ast.walk(ast.parse(found[name].read_bytes())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
                names.append(str(node.module))
    return found


def _flatten(module: str) -> str:
    """Return the flat name of a module, such as `glip_layers_swin`."""
    parts = module.split(".")
    own = modeling.__name__.split(".")[:-1]
    kept = parts[len(own) :] if parts[: len(own)] == own else parts
    return "_".join((_PREFIX, *kept))


def _set_auto_map(path: Path, classes: dict[str, str]) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    values["auto_map"] = classes
    _write_json(path, values)


def _write_json(path: Path, values: dict[str, JsonValue]) -> None:
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
