"""Scenes: which things stand where, drawn to pixels with clutter and mild occlusion.

The promise: every object of a scene is visible to at least `visible_min` and its box is tight around its visible
pixels, so the boxes are the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipelines.demo.world.background import draw_background
from pipelines.demo.world.lexicon import COLOURS, HEAD_NOUNS, TAIL_NOUNS, TEXTURES
from pipelines.demo.world.poster import draw_paper, outlined
from pipelines.demo.world.settings import WorldSettings
from pipelines.demo.world.shapes import placed
from schemas.boxes import iou

_OVERSAMPLE = 3
_PLACEMENT_TRIES = 40


@dataclass(frozen=True)
class Thing:
    """One drawn object. `box_xyxy_px` is half-open and tight around what is visible."""

    noun: str
    colour: str
    texture: str | None
    box_xyxy_px: tuple[float, float, float, float]
    visible: float


@dataclass(frozen=True)
class Scene:
    """A rendered scene and what stands in it. No two things share both noun and colour."""

    image_rgb_u8: NDArray[np.uint8]
    things: tuple[Thing, ...]


@dataclass(frozen=True)
class _Plan:
    noun: str
    colour: str
    texture: str | None
    centre_xy: tuple[float, float]
    size: float
    turn_rad: float


def head_and_tail(rng: np.random.Generator, count: int, tail_share: float, power: float = 0.0) -> list[str]:
    """`count` nouns, each from the tail with probability `tail_share`; the n-th of its group by n to minus `power`."""
    from_tail = rng.random(count) < tail_share
    return [_noun(rng, TAIL_NOUNS if tail else HEAD_NOUNS, power) for tail in from_tail]


def _noun(rng: np.random.Generator, nouns: tuple[str, ...], power: float) -> str:
    if not power:
        return str(rng.choice(nouns))
    odds = np.arange(1, len(nouns) + 1) ** -power
    return str(rng.choice(nouns, p=odds / odds.sum()))


def draw_scene(
    rng: np.random.Generator, nouns: list[str], settings: WorldSettings, style: str = "gold"
) -> Scene:
    """One scene with the given nouns, front to last. A thing too well hidden, or without a free place, is left out.

    The first noun is placed first and drawn last, so it is always in the scene. style: see `web_style`
    """
    plans = _plan(rng, nouns, settings)
    masks = [_mask(plan, settings.side_px) for plan in plans]
    seen = _visible_shares(masks)
    kept = [i for i, share in enumerate(seen) if share >= settings.visible_min]
    poster = style == "poster"
    image = (draw_paper if poster else draw_background)(rng, settings.side_px)
    for i in reversed(kept):
        paint = _paint(rng, plans[i], settings.side_px)
        if poster:
            paint = outlined(paint, masks[i])
        alpha = masks[i][:, :, None]
        image = image * (1 - alpha) + paint * alpha
    things = _things([plans[i] for i in kept], [masks[i] for i in kept])
    return Scene(np.clip(np.rint(image), 0, 255).astype(np.uint8), things)


def _plan(rng: np.random.Generator, nouns: list[str], settings: WorldSettings) -> list[_Plan]:
    plans: list[_Plan] = []
    boxes = np.zeros((0, 4))
    for noun in nouns:
        taken = {plan.colour for plan in plans if plan.noun == noun}
        colour = str(rng.choice([name for name in COLOURS if name not in taken]))
        texture = str(rng.choice(TEXTURES)) if rng.random() < settings.texture_share else None
        turn = np.deg2rad(rng.uniform(-settings.rotation_deg, settings.rotation_deg))
        for _ in range(_PLACEMENT_TRIES):
            size = float(np.exp(rng.uniform(np.log(settings.object_min_px), np.log(settings.object_max_px))))
            low, high = size / 2, settings.side_px - size / 2
            plan = _Plan(noun, colour, texture, (rng.uniform(low, high), rng.uniform(low, high)), size, turn)
            box = _extent(plan)[None]
            if not len(boxes) or iou(box, boxes).max() <= settings.placement_iou:
                plans.append(plan)
                boxes = np.concatenate([boxes, box])
                break
    return plans


def _extent(plan: _Plan) -> NDArray[np.float64]:
    points = np.concatenate(
        [p for filled, p in placed(plan.noun, plan.centre_xy, plan.size, plan.turn_rad) if filled]
    )
    return np.concatenate([points.min(0), points.max(0)])


def _mask(plan: _Plan, side: int) -> NDArray[np.float64]:
    canvas = Image.new("L", (side * _OVERSAMPLE, side * _OVERSAMPLE))
    draw = ImageDraw.Draw(canvas)
    for filled, points in placed(plan.noun, plan.centre_xy, plan.size, plan.turn_rad):
        draw.polygon([tuple(p) for p in points * _OVERSAMPLE], fill=255 if filled else 0)
    return np.asarray(canvas.reduce(_OVERSAMPLE), dtype=np.float64) / 255


def _visible_shares(masks: list[NDArray[np.float64]]) -> list[float]:
    free = np.ones_like(masks[0])
    shares = []
    for mask in masks:
        shares.append(float((mask * free).sum() / max(mask.sum(), 1e-9)))
        free = free * (1 - mask)
    return shares


def _things(plans: list[_Plan], masks: list[NDArray[np.float64]]) -> tuple[Thing, ...]:
    free = np.ones_like(masks[0])
    things = []
    for plan, mask in zip(plans, masks, strict=True):
        shown = mask * free
        rows, columns = np.nonzero(shown > 0.5)
        box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
        things.append(
            Thing(plan.noun, plan.colour, plan.texture, box, round(float(shown.sum() / mask.sum()), 4))
        )
        free = free * (1 - mask)
    return tuple(things)


def _paint(rng: np.random.Generator, plan: _Plan, side: int) -> NDArray[np.float64]:
    colour = np.array(COLOURS[plan.colour]) + rng.normal(0, 10, 3)
    row, column = np.mgrid[0:side, 0:side]
    phase = rng.uniform(0, 6)
    if plan.texture == "striped":
        dark = ((row + phase) % 6) < 2.5
    elif plan.texture == "dotted":
        dark = (((row + phase) % 6) - 3) ** 2 + (((column + phase) % 6) - 3) ** 2 < 2.6
    else:
        dark = np.zeros((side, side), dtype=bool)
    shade = np.where(dark, 0.45, 1.0) + rng.normal(0, 0.03, (side, side))
    return colour[None, None] * shade[:, :, None]
