"""From a URL to an fsspec filesystem: four protocols, no chaining, absolute paths.

Promise: no other fsspec protocol is ever opened, since several of them run code or follow links out of reach.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import fsspec

from engine.redaction import strip_url_secrets
from engine.settings import StorageSettings
from schemas.errors import ConfigError, RuntimeEnvironmentError
from schemas.ledger import bare_url

# bases of botocore's errors that another try may mend; none of them is an OSError
_PASSING = ("ConnectionError", "HTTPClientError", "ReadTimeoutError", "ConnectionClosedError")
PROTOCOLS = ("file", "s3", "gs", "memory")


def absolute_url(url: str, base: str | None = None) -> str:
    """The one spelling of a URL: local paths become absolute plain paths, others stay as they are.

    base:   folder that relative paths start from; default the current directory
    raises: ConfigError for chained URLs, other protocols and embedded credentials
    """
    if "::" in url:
        raise ConfigError(f"{_hidden(url)} chains filesystems with '::'; name the file itself")
    if not url.strip() or any(char < " " or char == "\x7f" for char in url):
        raise ConfigError(f"{url!r} is not a path or URL")
    if "://" not in url:
        return os.path.normpath(os.path.join(base or os.getcwd(), os.path.expanduser(url)))
    protocol, rest = url.split("://", 1)
    if protocol == "file":
        return absolute_url(unquote(rest) or "/", "/")
    if protocol not in PROTOCOLS:
        raise ConfigError(f"{_hidden(url)}: protocol {protocol!r} is not one of {', '.join(PROTOCOLS)}")
    if "@" in rest.split("/", 1)[0]:
        raise ConfigError(f"{protocol}://***: credentials in a URL; use storage.profile or the environment")
    return url.rstrip("/") if rest.strip("/") else url


def check_shard_url(url: str) -> str:
    """The URL itself; ConfigError when it is malformed, or a query or fragment would be no part of the shard's name."""
    try:
        bare = bare_url(url)
    except ValueError as error:
        raise ConfigError(f"{_hidden(url)} is no URL ({error}); a bracket opens an address there") from error
    if bare != url:
        raise ConfigError(f"{_hidden(url)}: a shard's name holds no '?' or '#'; rename the file or object")
    return url


def open_filesystem(url: str, storage: StorageSettings | None = None) -> tuple[Any, str]:
    """The filesystem of an absolute URL and the path inside it.

    raises: RuntimeEnvironmentError when the protocol's package is not installed
    """
    url = absolute_url(url)
    if "://" not in url:
        return fsspec.filesystem("file"), url
    protocol, rest = url.split("://", 1)
    try:
        filesystem = fsspec.filesystem(protocol, **_options(protocol, storage))
    except ImportError as error:
        package = {"s3": "s3", "gs": "gcs"}.get(protocol, protocol)
        raise RuntimeEnvironmentError(
            f"{protocol}:// needs a package that is missing ({error}); pip install 'groundswell[{package}]'"
        ) from error
    return filesystem, "/" + rest if protocol == "memory" else rest


@contextmanager
def translate_store_errors(url: str) -> Iterator[None]:
    """Around a call to a store: its library's errors become ours.

    raises: OSError for passing trouble (worth another try), RuntimeEnvironmentError for what waiting does not mend;
            FileNotFoundError and FileExistsError are answers and pass through
    """
    try:
        yield
    except PermissionError as error:
        raise RuntimeEnvironmentError(
            f"{_hidden(url)}: access denied ({error}); check rights or storage.profile"
        ) from error
    except Exception as error:
        kind = type(error)
        if not kind.__module__.startswith("botocore"):
            raise
        if any(base.__name__ in _PASSING for base in kind.__mro__):
            raise ConnectionError(f"{_hidden(url)}: {error}") from error
        raise RuntimeEnvironmentError(
            f"{_hidden(url)}: {error}; set storage.profile, storage.endpoint_url or the AWS environment variables"
        ) from error


def _options(protocol: str, storage: StorageSettings | None) -> dict[str, Any]:
    # a cached directory listing would hide records that another process wrote
    options: dict[str, Any] = {"use_listings_cache": False} if protocol in ("s3", "gs") else {}
    if protocol == "s3" and storage is not None:
        options |= {"endpoint_url": storage.endpoint_url, "profile": storage.profile}
    return {name: value for name, value in options.items() if value is not None}


def _hidden(url: str) -> str:
    """For messages: without query, fragment and credentials."""
    return strip_url_secrets(re.split("[?#]", url, maxsplit=1)[0])
