"""URLs of roots: their protocol and path, without credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frames_pipeline._lazy import lazy_module
from frames_pipeline.errors import ConfigError
from frames_pipeline.text.addresses import signing_names, without_secrets

if TYPE_CHECKING:
    import fsspec
else:
    fsspec = lazy_module("fsspec")


def check_location(url: str) -> None:
    """Check that a location can be stored: it has no credentials. Touches nothing.

    Raises:
        ConfigError: The URL is empty, contains credentials or is signed.
    """
    split_url(url)


def split_url(url: str) -> tuple[str, str]:
    """Return the protocol and the rest without a final slash; a path has no protocol.

    Raises:
        ConfigError: The URL is empty, contains credentials or is signed.
    """
    protocol, separator, rest = url.partition("://")
    if not separator:
        protocol, rest = "", url
    if not url:
        message = "the store's URL is empty; give a folder or an fsspec URL such as s3://bucket/dir"
        raise ConfigError(message)
    if protocol and "@" in rest.partition("/")[0]:
        message = f"the {protocol} URL contains credentials; put them into storage_options"
        raise ConfigError(message)
    if protocol and without_secrets(url) != url:
        found = ", ".join(signing_names(url)) or "a user and a password"
        message = f"{url} is signed, by {found}, and the URL gets stored; give the URL without "
        raise ConfigError(message + "that, and put credentials into storage_options")
    return protocol, rest.rstrip("/") or rest[:1]


def filesystem_class(protocol: str) -> type[fsspec.AbstractFileSystem]:
    """Return the fsspec class of a protocol.

    Raises:
        ConfigError: No installed package has it.
    """
    try:
        found: type[fsspec.AbstractFileSystem] = fsspec.get_filesystem_class(protocol or "file")
    except (ValueError, ImportError) as error:
        message = f"cannot reach {protocol}:// URLs: {error}; install the fsspec package for it"
        raise ConfigError(message) from error
    return found
