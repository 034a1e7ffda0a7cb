"""The size of the tiny world and how it is drawn. The defaults are those of the demo.

The fields that begin with `web_` make two harder worlds: a web in another style than gold, and one with more wrong
captions. They change the web alone. Gold and test of a seed are the same in all of them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.settings import Settings


class WorldSettings(Settings):
    """The tiny world. One seed draws everything. Each scene has its own random stream."""

    seed: int = Field(0, ge=0, description="draws scenes, captions and their order")
    gold_images: int = Field(300, ge=1, description="human-labeled scenes")
    gold_per_tail_noun: int = Field(1, ge=0, description="gold scenes that show a given tail noun")
    web_images: int = Field(2400, ge=0, description="scenes with a caption only")
    web_shard_images: int = Field(300, ge=1, le=10_000, description="samples in a tar shard")
    test_images: int = Field(250, ge=1, description="held-out scenes")
    web_tail_share: float = Field(0.35, ge=0, le=1, description="share of web objects that are tail nouns")
    test_tail_share: float = Field(0.40, ge=0, le=1, description="share of test objects that are tail nouns")
    side_px: int = Field(96, ge=32, description="width and height of every image")
    objects_min: int = Field(2, ge=1)
    objects_max: int = Field(4, ge=1)
    object_min_px: float = Field(20, gt=0, description="longer side of the smallest object")
    object_max_px: float = Field(48, gt=0, description="longer side of the largest object")
    rotation_deg: float = Field(15, ge=0, description="largest turn of an object to either side")
    placement_iou: float = Field(0.15, ge=0, le=1, description="overlap that two placed objects may have")
    visible_min: float = Field(0.35, ge=0, le=1, description="an object less visible than this is left out")
    texture_share: float = Field(0.30, ge=0, le=1, description="share of objects that are striped or dotted")
    caption_drop: float = Field(
        0.25, ge=0, le=1, description="chance that a web caption leaves an object out"
    )
    caption_absent: float = Field(
        0.15, ge=0, le=1, description="chance that a web caption names an absent thing"
    )
    caption_colour: float = Field(0.85, ge=0, le=1, description="chance that a web phrase names the color")
    caption_texture: float = Field(0.50, ge=0, le=1, description="chance that a web phrase names the texture")
    caption_distractor: float = Field(
        0.40, ge=0, le=1, description="chance of stock-photo words around a caption"
    )
    web_style: Literal["gold", "poster"] = Field(
        "gold", description="how the web is drawn: as gold is, or as outlined pale shapes on flat paper"
    )
    web_noun_power: float = Field(
        0.0,
        ge=0,
        description="on the web, the n-th noun of head or tail is drawn in proportion to n^-power; 0: evenly",
    )
    web_caption_missing: float = Field(
        0.0,
        ge=0,
        le=1,
        description="chance that a phrase is left out of a web caption, in addition to caption_drop",
    )
    web_caption_wrong: float = Field(
        0.0, ge=0, le=1, description="chance that a phrase of a web caption has the noun of an absent thing"
    )
    web_caption_extra: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="chance of one more absent thing in a web caption, and of another after it",
    )
    jpeg_quality: int = Field(95, ge=1, le=100)

    @property
    def careful(self) -> WorldSettings:
        """The same world with captions that name nothing absent and are as complete as the demo's."""
        noise = ("caption_absent", "web_caption_missing", "web_caption_wrong", "web_caption_extra")
        return self.model_copy(update=dict.fromkeys(noise, 0.0))
