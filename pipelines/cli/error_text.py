"""Turn an exception into the message and the exit code that a user gets."""

from __future__ import annotations

import tempfile
import traceback

from engine.redaction import redact
from pipelines.terminal.interrupt import INTERRUPTED
from schemas.errors import GroundswellError, NotFoundError, RuntimeEnvironmentError

_MAX_CHARACTERS = 500


def explain_error(error: BaseException) -> tuple[str, int]:
    """Return the message and the exit code. Call it while the error is being handled."""
    match error:
        case GroundswellError():
            return f"error: {error}", error.exit_code
        case KeyboardInterrupt():
            return "interrupted; run the same command to continue", INTERRUPTED
        case FileNotFoundError():
            return f"error: {error}; give a path that exists", NotFoundError.exit_code
        case ConnectionError():
            remedy = (
                "check the server, its address (storage.endpoint_url or AWS_ENDPOINT_URL) and the network"
            )
            return f"error: {error}; {remedy}", RuntimeEnvironmentError.exit_code
        case OSError():
            remedy = "check that the path exists, that you may write there, and that the disk has space"
            return f"error: {error}; {remedy}", RuntimeEnvironmentError.exit_code
    first = str(error).strip().split("\n", 1)[0][:_MAX_CHARACTERS]
    return (
        f"error: {type(error).__name__}: {first} (unexpected; the traceback is in {_write_traceback()}, "
        "--debug or GROUNDSWELL_DEBUG=1 prints it)"
    ), 1


def _write_traceback() -> str:
    """Write the traceback of the current error, redacted, to a file for this user only; return its path."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="groundswell-error-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(redact(traceback.format_exc()))
            return file.name
    except OSError as error:
        return f"no file ({error})"
