"""A small local S3 (moto) for tests of object storage."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from engine.settings import StorageSettings


@contextmanager
def s3_bucket(name: str | None = None) -> Iterator[tuple[str, StorageSettings]]:
    """Yield a fresh bucket and its storage settings. name: of the bucket; None for a random one."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = StorageSettings(endpoint_url=f"http://{host}:{port}")
    name = name or f"bucket-{uuid.uuid4().hex[:8]}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        try:
            from engine.storage.filesystems import open_filesystem

            open_filesystem(f"s3://{name}", settings)[0].mkdir(name)
            yield f"s3://{name}", settings
        finally:
            server.stop()
