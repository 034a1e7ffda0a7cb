"""Remove secrets from text that is kept: logs, error messages, details of failures, source URLs.

`redact` replaces values of secret environment variables, credentials and signatures in URLs, and tokens of well-known
forms by `***`. It is a second line of defense: configurations contain only names of secrets.
"""

from __future__ import annotations

import os
import re

HIDDEN = "***"
MIN_SECRET_CHARS = 8  # shorter values are words such as `true`, which would be removed from every text

_SECRET_NAME = re.compile(
    r"(SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|ACCESS_KEY|ACCESS_KEY_ID|API_KEY|APIKEY|PRIVATE_KEY|CREDENTIAL|AUTH)$"
)
# s3 and Azure signatures, OAuth, and names that services use for keys
_PARAMETER = (
    r"x-amz-(?:signature|credential|security-token)|x-goog-(?:signature|credential)|signature|sig|awsaccesskeyid|"
    r"googleaccessid|(?:access_|auth_|id_|refresh_|api_)?token|(?:api_?|access_?|secret_?)?key|secret|client_secret|"
    r"password|passwd|pwd|auth|authorization|credential|jwt|session(?:_?id)?|policy|key-pair-id"
)
_IN_QUERY = re.compile(rf"([?&;](?:{_PARAMETER})=)[^&#;\s\"'<>]+", re.IGNORECASE)
_USER_INFO = re.compile(r"\b([a-z][a-z0-9+.-]{1,30}://)[^/\s\"'<>@]+@", re.IGNORECASE)
_HEADER = re.compile(
    r"\b((?:proxy-)?authorization\W{1,4}(?:(?:bearer|basic|token)\s+)?|bearer\s+)[\w.~+/=-]{8,}",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(
    r"(\b\w*(?:secret|token|password|passwd|access_key|api_key|access_key_id)[\"']?\s*[:=]\s*[\"']?)[^\s\"',;&}]{8,}",
    re.IGNORECASE,
)
_WELL_KNOWN = re.compile(
    r"\b(?:(?:AKIA|ASIA)[0-9A-Z]{16}|hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|xox[abpr]-[\w-]{10,}|"
    r"AIza[\w-]{30,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,})"
)


def redact(text: str) -> str:
    """Replace secrets by `***`; the rest of the text stays as it is."""
    for value in _secret_values():
        text = text.replace(value, HIDDEN)
    text = strip_url_secrets(text)
    text = _HEADER.sub(rf"\1{HIDDEN}", text)
    text = _ASSIGNED.sub(rf"\1{HIDDEN}", text)
    return _WELL_KNOWN.sub(HIDDEN, text)


def strip_url_secrets(text: str) -> str:
    """Remove user names, passwords, and query parameters that sign or authorize; depends on the text alone."""
    if "://" in text:
        text = _USER_INFO.sub(rf"\1{HIDDEN}@", text)
    return _IN_QUERY.sub(rf"\1{HIDDEN}", text) if "=" in text else text


def _secret_values() -> list[str]:
    """Return the values of the environment's secrets, longest first, because one may contain another."""
    named = (value for name, value in os.environ.items() if _SECRET_NAME.search(name.upper()))
    return sorted({value for value in named if len(value) >= MIN_SECRET_CHARS}, key=len, reverse=True)
