"""A tiny sample over real image files, and the review app over it."""

import random
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image, ImageDraw

from pipelines.audit.sampling import draw_sample
from pipelines.audit.verdicts import VerdictStore
from schemas.digests import sha256_hex

HOSTILE = '<img src=x onerror="document.title=1"> \u202emoon\u202c'


TURNED = 0


def scene(folder, number):
    """Draw a picture with one ellipse, derived from the number; return its box. One picture is stored rotated, with
    EXIF.
    """
    chance = random.Random(number)
    image = Image.new("RGB", (120, 90), (214, 224, 232))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 62, 120, 90), fill=(150, 172, 120))
    x, y = chance.randrange(10, 70), chance.randrange(10, 45)
    draw.ellipse((x, y, x + 34, y + 30), fill=(190, 40, 60))
    exif = Image.Exif()
    if number == TURNED:
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif[0x0112], exif[0x010E] = 6, "where it was taken"
    image.save(folder / f"{number}.png", exif=exif)
    return (float(x), float(y), x + 35.0, y + 31.0)


def row(folder, number, caption, begin, end):
    x0, y0, x1, y1 = scene(folder, number)
    phrase = {"begin": begin, "end": end, "text": caption[begin:end], "root": "moon", "kind": "chunk"}
    region = {"phrase": 0, "x0": x0, "y0": y0, "x1": x1, "y1": y1, "score": 0.731, "fate": "positive"}
    return {
        "unit": "u",
        "shard": "secret-shard.tar",
        "index": number,
        "key": f"secret-{number}",
        "pixels": {"url": str(folder / f"{number}.png")},
        "image_sha256": sha256_hex((folder / f"{number}.png").read_bytes()),
        "width": 120,
        "height": 90,
        "caption": caption,
        "phrases": [phrase],
        "regions": [{**region, "origin": "teacher"}],
    }


def put_in_tar(folder, rows):
    """Move the rows' pictures into one shard, as labeled shards hold them."""
    shard = folder / "shard.tar"
    with tarfile.open(shard, "w") as tar:
        for one in rows:
            tar.add(one["pixels"]["url"], arcname=f"{one['key']}.png")
    with tarfile.open(shard) as tar:
        for one, member in zip(rows, tar.getmembers(), strict=True):
            one["pixels"] = {"url": str(shard), "offset": member.offset_data, "length": member.size}


@pytest.fixture
def sample(tmp_path):
    """Six regions: plain captions, one beyond the BMP, one right to left, one hostile."""
    captions = [("a red moon over a meadow", 0, 10)] * 3
    captions += [
        ("\U0001f600\U0001f600 a red moon", 3, 13),
        ("קמר אדום מעל אחו", 0, 8),
        (HOSTILE, 0, len(HOSTILE)),
    ]
    rows = [row(tmp_path, number, *caption) for number, caption in enumerate(captions)]
    put_in_tar(tmp_path, rows[3:])
    view = SimpleNamespace(
        manifest=SimpleNamespace(digest="sha256:" + "a" * 64, provenance={}), rows=lambda: iter(rows)
    )
    return draw_sample(view, seed=0, n=6, bins=1)


@pytest.fixture
def sample_of_sizes(tmp_path):
    """Make a sample of plain pictures, each of its own color: `(caption, (width, height), box)`, marked at its end."""

    def make(*items):
        rows = []
        for number, (caption, (width, height), box) in enumerate(items):
            chance = random.Random(number)
            one = row(tmp_path, number + 1, caption, max(len(caption) - 5, 0), len(caption))
            path = Path(one["pixels"]["url"])
            Image.new("RGB", (width, height), tuple(chance.randrange(256) for _ in range(3))).save(path)
            one |= {"image_sha256": sha256_hex(path.read_bytes()), "width": width, "height": height}
            one["regions"][0] |= dict(zip(("x0", "y0", "x1", "y1"), map(float, box), strict=True))
            rows.append(one)
        view = SimpleNamespace(
            manifest=SimpleNamespace(digest="sha256:" + "b" * 64, provenance={}), rows=lambda: iter(rows)
        )
        return draw_sample(view, seed=0, n=len(rows), bins=1)

    return make


@pytest.fixture
def store(tmp_path, sample):
    return VerdictStore(tmp_path / "verdicts.db", sample)
