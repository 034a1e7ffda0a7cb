"""The model card travels: it says what was learned from, and nothing of the machine that learned."""

from __future__ import annotations

import json

from student.settings.train import TrainSettings
from student.training.model_card import _portable_settings


def test_the_card_tells_no_place_of_the_machine_that_trained(two_streams: TrainSettings) -> None:
    storage = {"endpoint_url": "http://minio.corp.example:9000", "profile": "finance"}
    roots = {"s3://bucket/": "/mnt/bucket/"}
    streams = [{**stream.model_dump(), "storage": storage, "roots": roots} for stream in two_streams.streams]

    text = json.dumps(
        _portable_settings(TrainSettings.model_validate({**two_streams.model_dump(), "streams": streams}))
    )

    places = (
        "minio",
        "finance",
        "/mnt/",
        two_streams.out,
        str(two_streams.start),
        *(one.url for one in two_streams.streams),
    )
    assert not [place for place in places if place in text]
