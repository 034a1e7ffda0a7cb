"""The file name of a gold image: import and evaluation find it by the same rule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote


def find_file_name(image: Mapping[str, object]) -> str | None:
    """Return `file_name`, or the last two parts of `coco_url` (LVIS); None for an image with neither."""
    name = image.get("file_name")
    if isinstance(name, str) and name:
        return name
    url = image.get("coco_url")
    if isinstance(url, str) and url.count("/") >= 2:
        path = unquote(re.split("[?#]", url, maxsplit=1)[0])
        return "/".join(path.split("/")[-2:])
    return None
