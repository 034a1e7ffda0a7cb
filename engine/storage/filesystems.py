"""Open the fsspec filesystem of a URL: four protocols, no chaining, absolute paths.

No other fsspec protocol is ever opened, because several of them run code or follow links to other places.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

import fsspec
from fsspec import AbstractFileSystem

from engine.redaction import strip_url_secrets
from engine.settings import StorageSettings
from schemas.errors import ConfigError, RuntimeEnvironmentError
from schemas.ledger import bare_url

# base classes of the transient errors of botocore; none of them is an OSError
_TRANSIENT = ("ConnectionError", "HTTPClientError", "ReadTimeoutError", "ConnectionClosedError")
PROTOCOLS = ("file", "s3", "gs", "memory")


def absolute_url(url: str, base: str | None = None) -> str:
    """Normalize a URL: local paths become absolute plain paths, others stay as they are.

    base:   folder that relative paths start from; default: the current directory
    raises: ConfigError for chained URLs, other protocols and embedded credentials
    """
    if "::" in url:
        raise ConfigError(f"{_display_url(url)} chains filesystems with '::'; name the file itself")
    if not url.strip() or any(char < " " or char == "\x7f" for char in url):
        raise ConfigError(f"{url!r} is not a path or URL; write one without control characters")
    if "://" not in url:
        return os.path.normpath(os.path.join(base or os.getcwd(), os.path.expanduser(url)))
    protocol, rest = url.split("://", 1)
    if protocol == "file":
        return absolute_url(unquote(rest) or "/", "/")
    if protocol not in PROTOCOLS:
        raise ConfigError(f"{_display_url(url)}: protocol {protocol!r} is not one of {', '.join(PROTOCOLS)}")
    if "@" in rest.split("/", 1)[0]:
        raise ConfigError(f"{protocol}://***: credentials in a URL; use storage.profile or the environment")
    return url.rstrip("/") if rest.strip("/") else url


def check_shard_url(url: str) -> str:
    """Return the URL itself. Raises ConfigError if it is malformed or has a query or fragment."""
    try:
        bare = bare_url(url)
    except ValueError as error:
        raise ConfigError(
            f"{_display_url(url)} is not a URL ({error}); correct the part after '://', where '[' begins an IPv6 "
            "address"
        ) from error
    if bare != url:
        raise ConfigError(
            f"{_display_url(url)}: the name of a shard must not contain '?' or '#'; rename the file or object"
        )
    return url


def open_filesystem(url: str, storage: StorageSettings | None = None) -> tuple[AbstractFileSystem, str]:
    """Return the filesystem of a URL and the path inside it.

    raises: RuntimeEnvironmentError if the protocol's package is not installed
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
    """Translate the errors of a store's library inside the block to ours.

    raises: OSError for transient errors, RuntimeEnvironmentError for errors that a retry does not fix;
            FileNotFoundError and FileExistsError are answers and pass through
    """
    try:
        yield
    except PermissionError as error:
        raise RuntimeEnvironmentError(
            f"{_display_url(url)}: access denied ({error}); check rights or storage.profile"
        ) from error
    except Exception as error:
        kind = type(error)
        if not kind.__module__.startswith("botocore"):
            raise
        if any(base.__name__ in _TRANSIENT for base in kind.__mro__):
            raise ConnectionError(f"{_display_url(url)}: {error}") from error
        raise RuntimeEnvironmentError(
            f"{_display_url(url)}: {error}; set storage.profile, storage.endpoint_url or the AWS environment variables"
        ) from error


def _options(protocol: str, storage: StorageSettings | None) -> dict[str, bool | str]:
    # a cached directory listing would miss records that another process wrote
    options: dict[str, bool | str | None] = {"use_listings_cache": False} if protocol in ("s3", "gs") else {}
    if protocol == "s3" and storage is not None:
        options |= {"endpoint_url": storage.endpoint_url, "profile": storage.profile}
    return {name: value for name, value in options.items() if value is not None}


def _display_url(url: str) -> str:
    """Return the URL without query, fragment and credentials, for messages."""
    return strip_url_secrets(re.split("[?#]", url, maxsplit=1)[0])
