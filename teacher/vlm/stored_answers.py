"""Answers of an endpoint, kept by the digest of their request. The first answer counts, and later ones are not used.

An object is `answers/<2 digits>/<digest>.json`. It has the text as the model sent it, before it is read, and no key and
no address.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from schemas.digests import canonical_json
from schemas.errors import NotFoundError, RuntimeEnvironmentError
from schemas.labeler import AnswerStore
from teacher.vlm.replies import Completion

T = TypeVar("T")
_TRIES = 3


class AnswerFolder:
    """An `AnswerStore` in a local folder."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def read(self, path: str) -> bytes:
        """Return the bytes of a file. Raises NotFoundError."""
        try:
            return (self._folder / path).read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError(f"{self._folder / path} does not exist") from error

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Create a file whole or not at all. Return False if it exists."""
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".tmp-{os.getpid()}-{secrets.token_hex(8)}")
        try:
            draft.write_bytes(data)
            os.link(draft, target)
        except FileExistsError:
            return False
        finally:
            draft.unlink(missing_ok=True)
        return True


class StoredAnswers:
    """The answers of one store."""

    def __init__(self, store: AnswerStore) -> None:
        self._store = store

    def find(self, digest: str) -> Completion | None:
        """Return the answer to a request, or None. Raises RuntimeEnvironmentError if it cannot be read."""
        path = _path_of(digest)
        try:
            data = _keep_trying(lambda: self._store.read(path))
        except NotFoundError:
            return None
        try:
            record = json.loads(data)
            if record["request"] != digest:
                raise ValueError(f"it answers {record['request']}")
            return Completion(record["text"], record["finish_reason"])
        except (ValueError, KeyError, TypeError) as error:
            raise RuntimeEnvironmentError(
                f"{path} in the store of answers is damaged ({error}); delete it, and it is asked again"
            ) from error

    def keep(self, digest: str, completion: Completion) -> Completion:
        """Store an answer unless there is one. Return the stored one."""
        record = {"request": digest, "text": completion.text, "finish_reason": completion.finish_reason}
        path, data = _path_of(digest), canonical_json(record)
        if _keep_trying(lambda: self._store.put_if_absent(path, data)):
            return completion
        return self.find(digest) or completion


def _path_of(digest: str) -> str:
    name = digest.removeprefix("sha256:")
    return f"answers/{name[:2]}/{name}.json"


def _keep_trying(action: Callable[[], T]) -> T:
    """Return the action's result. An OSError that stays ends the run, since it is not the sample's."""
    for _ in range(_TRIES - 1):
        try:
            return action()
        except OSError:
            continue
    try:
        return action()
    except OSError as error:
        raise RuntimeEnvironmentError(
            f"the store of answers cannot be used ({type(error).__name__}: {error}); check teacher.answers, or the "
            "place of the output"
        ) from error
