"""Faults of file systems and object stores, as errors of this library.

An error becomes a `TransientError` if another try may help and a `StoreAccessError` if not; a
missing object stays a `FileNotFoundError`. Errors of client libraries are recognised by name, so
that this imports none of them.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from frames_pipeline.errors import FramesPipelineError, StoreAccessError, TransientError
from frames_pipeline.io.causes import presentable
from frames_pipeline.text.plain import fit_to_show

_TRANSIENT_STATUS: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that call for a retry; S3 answers 409 to conflicting concurrent writes."""

_TRANSIENT_CODES: Final = frozenset(
    {"BadDigest", "IncompleteBody", "RequestTimeout", "Throttling", "XAmzContentSHA256Mismatch"}
)
"""S3's error codes for failures in transfer, which have the status of a bad request."""

_MISSING_BUCKET: Final = "NoSuchBucket"

_TRANSIENT_ERRNO: Final = frozenset({errno.EBUSY, getattr(errno, "EREMOTEIO", errno.EBUSY)})
"""Error numbers that s3fs gives for 503 and 500."""

_CHECKSUM_TYPES: Final = frozenset(
    {"botocore.exceptions.ChecksumError", "botocore.exceptions.FlexibleChecksumError"}
)
"""Errors of botocore for bytes that changed or were lost in transfer."""

_TRANSIENT_TYPES: Final = _CHECKSUM_TYPES | frozenset(
    {
        "aiohttp.client_exceptions.ClientConnectionError",
        "aiohttp.client_exceptions.ClientPayloadError",
        "azure.core.exceptions.ServiceRequestError",
        "azure.core.exceptions.ServiceResponseError",
        "botocore.exceptions.ConnectionError",
        "botocore.exceptions.HTTPClientError",
        "botocore.exceptions.IncompleteReadError",
        "botocore.parsers.ResponseParserError",
    }
)
"""Network faults outside `OSError`."""

_CREDENTIAL_TYPES: Final = frozenset(
    {
        "botocore.exceptions.NoCredentialsError",
        "botocore.exceptions.PartialCredentialsError",
        "botocore.exceptions.TokenRetrievalError",
    }
)

_CLIENT_TYPES: Final = frozenset({"aiohttp.client_exceptions.ClientError"})
"""Errors that fsspec's HTTP file system does not translate. Their messages hold the full URL."""


@contextlib.contextmanager
def missing_bucket_as_error(url: str, key: str) -> Iterator[None]:
    """On write, turn `FileNotFoundError` into an error about the missing bucket or folder."""
    try:
        yield
    except FileNotFoundError as error:
        message = f"no bucket or folder for {url}/{key}: {error}; create it first"
        raise StoreAccessError(message) from error


@contextlib.contextmanager
def translated_faults(url: str, key: str, *, hide: Iterable[str] = ()) -> Iterator[None]:
    """Raise faults as errors that name the object, with transient and permanent ones distinct.

    Replaces causes by safe copies, since messages of other libraries hold full URLs.
    """
    try:
        yield
    except FramesPipelineError:
        raise
    except Exception as error:
        hide = tuple(hide)
        cause = presentable(error, hide=hide)
        if (found := _fault(error, f"{url}/{key}", fit_to_show(str(error), hide=hide))) is not None:
            raise found from cause
        if cause is not error and isinstance(error, FileNotFoundError):
            raise FileNotFoundError(str(cause)) from cause
        raise


def is_missing_bucket(error: BaseException) -> bool:
    """Return whether an error means a missing bucket, as opposed to a missing object."""
    return any(_s3_code(cause) == _MISSING_BUCKET for cause in _causes(error))


def _fault(error: Exception, where: str, text: str) -> FramesPipelineError | None:
    """Return the library's error for a fault; `None` for a missing object or another error.

    fsspec's HTTP file system reports every failed request as a missing object.
    """
    if any(_may_pass(cause) for cause in _causes(error)):
        return TransientError(f"cannot reach {where} now: {text}")
    if isinstance(error, FileNotFoundError):
        if not is_missing_bucket(error):
            return None
        message = f"no bucket for {where}: {text}; create it first, or correct the URL"
        return StoreAccessError(message)
    is_refused = isinstance(error, PermissionError) or _http_status(error) in (401, 403)
    if is_refused or _is_one_of(error, _CREDENTIAL_TYPES):
        message = f"not allowed to reach {where}: {text}; check credentials and policy"
        return StoreAccessError(message)
    if isinstance(error, OSError) or _is_one_of(error, _CLIENT_TYPES):
        return StoreAccessError(f"cannot use {where}: {text}")
    return None


def is_checksum_error(error: BaseException) -> bool:
    """Return whether an S3 client found that bytes changed or were lost in transfer."""
    return _is_one_of(error, _CHECKSUM_TYPES)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and its causes; s3fs keeps the HTTP response there."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    if isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNO:
        return True
    if _http_status(error) in _TRANSIENT_STATUS or _s3_code(error) in _TRANSIENT_CODES:
        return True
    return _is_one_of(error, _TRANSIENT_TYPES)


def _s3_code(error: BaseException) -> object:
    """Return S3's error code, from an error of botocore."""
    response = getattr(error, "response", None)
    found = response.get("Error", {}) if isinstance(response, Mapping) else {}
    return found.get("Code")


def _is_one_of(error: BaseException, names: frozenset[str]) -> bool:
    return any(f"{kind.__module__}.{kind.__qualname__}" in names for kind in type(error).__mro__)


def _http_status(error: BaseException) -> object:
    """Return the HTTP status of an error of botocore, aiohttp, Azure or gcsfs."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    found = (getattr(error, name, None) for name in ("status", "status_code", "code"))
    return next((value for value in found if isinstance(value, int)), None)
