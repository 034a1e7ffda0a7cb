"""Draw scenes: place things and render them with clutter and mild occlusion.

At least the share `visible_min` of every object is visible, and its box is tight around its visible pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipelines.demo.world.background import draw_background
from pipelines.demo.world.lexicon import COLOURS, HEAD_NOUNS, TAIL_NOUNS, TEXTURES
from pipelines.demo.world.poster import draw_outline, draw_paper
from pipelines.demo.world.settings import WorldSettings
from pipelines.demo.world.shapes import place_shape
from schemas.boxes import iou

_OVERSAMPLE = 3
_PLACEMENT_TRIES = 40


@dataclass(frozen=True)
class Thing:
    """One drawn object. `box_xyxy_px` is half-open and tight around the visible pixels."""

    noun: str
    colour: str
    texture: str | None
    box_xyxy_px: tuple[float, float, float, float]
    visible: float


@dataclass(frozen=True)
class Scene:
    """A rendered scene and its things. No two things have the same noun and color."""

    image_rgb_u8: NDArray[np.uint8]
    things: tuple[Thing, ...]


@dataclass(frozen=True)
class _Plan:
    noun: str
    colour: str
    texture: str | None
    center_xy: tuple[float, float]
    size: float
    turn_rad: float


def draw_nouns(rng: np.random.Generator, count: int, tail_share: float, power: float = 0.0) -> list[str]:
    """Draw `count` nouns, each from the tail with probability `tail_share`. The n-th of a group has weight n^-power."""
    from_tail = rng.random(count) < tail_share
    return [_draw_noun(rng, TAIL_NOUNS if tail else HEAD_NOUNS, power) for tail in from_tail]


def _draw_noun(rng: np.random.Generator, nouns: tuple[str, ...], power: float) -> str:
    if not power:
        return str(rng.choice(nouns))
    odds = np.arange(1, len(nouns) + 1) ** -power
    return str(rng.choice(nouns, p=odds / odds.sum()))


def draw_scene(
    rng: np.random.Generator, nouns: list[str], settings: WorldSettings, style: str = "gold"
) -> Scene:
    """Draw one scene with the given nouns, the first in front. Hidden things and things without a place are left out.

    The first noun is placed first and drawn last, so it is always in the scene. style: see `web_style`
    """
    plans = _plan_things(rng, nouns, settings)
    masks = [_render_mask(plan, settings.side_px) for plan in plans]
    shares = _compute_visible_shares(masks)
    kept = [i for i, share in enumerate(shares) if share >= settings.visible_min]
    poster = style == "poster"
    image = (draw_paper if poster else draw_background)(rng, settings.side_px)
    for i in reversed(kept):
        paint = _render_paint(rng, plans[i], settings.side_px)
        if poster:
            paint = draw_outline(paint, masks[i])
        alpha = masks[i][:, :, None]
        image = image * (1 - alpha) + paint * alpha
    things = _make_things([plans[i] for i in kept], [masks[i] for i in kept])
    return Scene(np.clip(np.rint(image), 0, 255).astype(np.uint8), things)


def _plan_things(rng: np.random.Generator, nouns: list[str], settings: WorldSettings) -> list[_Plan]:
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
            box = _compute_extent(plan)[None]
            if not len(boxes) or iou(box, boxes).max() <= settings.placement_iou:
                plans.append(plan)
                boxes = np.concatenate([boxes, box])
                break
    return plans


def _compute_extent(plan: _Plan) -> NDArray[np.float64]:
    points = np.concatenate(
        [p for filled, p in place_shape(plan.noun, plan.center_xy, plan.size, plan.turn_rad) if filled]
    )
    return np.concatenate([points.min(0), points.max(0)])


def _render_mask(plan: _Plan, side: int) -> NDArray[np.float64]:
    canvas = Image.new("L", (side * _OVERSAMPLE, side * _OVERSAMPLE))
    draw = ImageDraw.Draw(canvas)
    for filled, points in place_shape(plan.noun, plan.center_xy, plan.size, plan.turn_rad):
        draw.polygon([tuple(p) for p in points * _OVERSAMPLE], fill=255 if filled else 0)
    return np.asarray(canvas.reduce(_OVERSAMPLE), dtype=np.float64) / 255


def _compute_visible_shares(masks: list[NDArray[np.float64]]) -> list[float]:
    free = np.ones_like(masks[0])
    shares = []
    for mask in masks:
        shares.append(float((mask * free).sum() / max(mask.sum(), 1e-9)))
        free = free * (1 - mask)
    return shares


def _make_things(plans: list[_Plan], masks: list[NDArray[np.float64]]) -> tuple[Thing, ...]:
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


def _render_paint(rng: np.random.Generator, plan: _Plan, side: int) -> NDArray[np.float64]:
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
