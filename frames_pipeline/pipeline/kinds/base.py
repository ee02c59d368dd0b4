"""The record of a kind of derived table: everything that differs between kinds, in one place.

A kind is a table of rows that a provider makes from the frames of one signature. `pipeline.derive`
makes the rows; dry runs, lineage, views, the catalog, the CLI and Dagster's assets read the record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from frames_pipeline._lazy import lazy_module
from frames_pipeline.errors import SourceError
from frames_pipeline.models import Provider, provider_parameters
from frames_pipeline.models.samples import check_samples
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.tables import Maker, Row

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc

    from frames_pipeline.frames import FrameBatch
    from frames_pipeline.pipeline.workspace import Workspace
    from frames_pipeline.tables import FrameRef, TableInfo
else:
    pa, pc = lazy_module("pyarrow"), lazy_module("pyarrow.compute")

P = TypeVar("P", bound=Provider)
A = TypeVar("A")

DEFAULT: Final = "default"
"""Displayed name of the definition that stores its rows without a name, as version 0.1 did."""


@dataclass(frozen=True, slots=True)
class DerivedReport:
    """The rows of a batch, with the number of clips done."""

    info: TableInfo
    """The published table."""
    rows: pa.Table
    """Its rows."""
    made: int
    """Number of clips with new rows."""
    kept: int
    """Number of clips with rows kept from before."""
    new: pa.Table
    """The new rows."""
    device: str
    """Device of the provider: `cpu` unless it reports another; `none` if it did not run."""
    made_from: str
    """Path or URL of the frames' folder."""


@dataclass(frozen=True, slots=True)
class CatalogPart:
    """Columns of the catalog that come from a kind's rows."""

    row: type[Row]
    """The columns."""
    read: Callable[[str, Sequence[str], Workspace], Callable[[str], Row]]
    """Reads the rows of a batch under these names; returns the columns of a clip by its id."""
    sources: Mapping[str, str]
    """Source columns in the kind's table, by column of the catalog."""
    is_judged: bool = False
    """Whether a selection judges clips by these columns. All are null for an unmeasured clip."""


@dataclass(frozen=True, slots=True)
class AssetInfo:
    """Facts for the kind's Dagster assets, as plain values."""

    key: str
    """First part of the asset's key."""
    description: str
    """Text for the UI, with `{provider}` for the provider's name."""
    facts: Callable[[DerivedReport, Any], Mapping[str, object]]
    """Metadata of a materialization, from the report and the provider."""
    shown: tuple[str, ...] = ()
    """Columns to preview in the UI."""
    secret: str = ""
    """Provider parameter that can come from an environment variable; empty if there is none."""


@dataclass(frozen=True, slots=True)
class PooledKind:
    """A table with one row per clip, made from a kind's rows per frame."""

    row: type[Row]
    """The columns."""
    pool: Callable[[pa.Table], pa.Table]
    """Makes its rows from the kind's rows."""
    asset: str
    """First part of its asset's key."""
    description: str
    """Text for the UI."""
    code_version: str
    """Version of the way of pooling."""
    sources: Mapping[str, str]
    """Name in the kind's table of columns that are renamed."""

    @property
    def table(self) -> str:
        """Name of the table."""
        return self.row.TABLE


def _one(provider: Provider) -> int:
    """Return 1: one clip at a time."""
    return 1


def _nothing(provider: str, parameters: Mapping[str, Any]) -> str:
    """Return an empty text: the provider can run."""
    return ""


@dataclass(frozen=True, slots=True)
class DerivedKind(Generic[P, A]):
    """A kind of derived table: its rows, its provider, and the facts that other modules read."""

    name: str
    """Name in `defs.yaml`, in the CLI and in dry runs."""
    row: type[Row]
    """Its rows; the class names the table."""
    open: Callable[..., P]
    """Opens a provider by its name, with its parameters as keywords."""
    ask: Callable[[P, FrameBatch], A]
    """Runs the provider on a clip's frames."""
    rows: Callable[[FrameRef, A, P], pa.Table]
    """Makes the rows of a clip from the provider's answer."""
    asset: AssetInfo
    """Facts for its Dagster assets."""
    failed: Callable[[FrameRef, SourceError, P], pa.Table] | None = None
    """Makes the row of a clip without an answer; `None`: the error stops the batch."""
    concurrency: Callable[[P], int] = _one
    """Number of clips that the provider gets at once."""
    dimensions: Callable[[P], int] | None = None
    """Length of the provider's vectors; `None` if the rows have no vector."""
    identifying: Callable[[str, Mapping[str, Any]], Mapping[str, Any]] | None = None
    """Returns the parameters that affect the answers, for providers that need secrets to open;
    `None`: open the provider and read its parameters."""
    provider_class: Callable[[str], Callable[..., P]] | None = None
    """Returns the class of a provider by its name, to check its `samples` when definitions load;
    `None`: they are checked when it runs."""
    lacks: Callable[[str, Mapping[str, Any]], str] = _nothing
    """Returns the missing setting of a provider of this name, with the fix; empty if it can run."""
    catalog: CatalogPart | None = None
    """Its columns of the catalog."""
    pooled: PooledKind | None = None
    """Its rows per clip, if its rows per frame can be pooled."""

    @property
    def table(self) -> str:
        """Name of the table."""
        return self.row.TABLE

    @property
    def view_schema(self) -> pa.Schema | None:
        """Columns of the table over all batches; `None` if the length of vectors varies."""
        return self.row.schema() if self.dimensions is None else None

    def check_samples(
        self, provider: P, signature: FrameExtractionSignature, *, name: str = ""
    ) -> None:
        """Check that a provider takes the samples of a signature.

        Args:
            provider: The provider.
            signature: Signature of its input frames.
            name: Name of the definition; empty for the default one.

        Raises:
            ConfigError: It takes others.
        """
        check_samples(
            f"{self.name}.{name or DEFAULT}",
            provider,
            name=provider.name,
            signature=signature.key,
            samples=signature.samples,
        )

    def schema(self, provider: P, before: pa.Table | None) -> pa.Schema:
        """Return the columns of a provider's rows. Loads no model if its vectors are stored.

        Args:
            provider: The provider.
            before: The batch's stored rows, if there are any.
        """
        if self.dimensions is None:
            return self.row.schema()
        if before is not None and len(before):
            makers = pc.unique(before["provider_parameters"]).to_pylist()
            if makers == [provider_parameters(provider)]:
                return self.stored_schema(before)
        return self.row.schema(dimensions=self.dimensions(provider))

    def stored_schema(self, rows: pa.Table) -> pa.Schema:
        """Return the columns of the kind, with vectors as long as those of stored rows."""
        sizes = [one.list_size for one in rows.schema.types if pa.types.is_fixed_size_list(one)]
        return self.row.schema(dimensions=sizes[0] if sizes else -1)

    def code_version(
        self, provider: str, parameters: Mapping[str, Any], signature: FrameExtractionSignature
    ) -> str:
        """Return the code version of an asset: it changes with anything that changes the rows.

        Args:
            provider: Name of the provider.
            parameters: Its parameters, without secrets.
            signature: Signature of its input frames.
        """
        if self.identifying is None:
            return provider_version(self.open(provider, **parameters), signature)
        decisive = sorted(self.identifying(provider, parameters).items())
        return f"{provider}-{signature.key}-{decisive!r}"


def provider_version(provider: Provider, signature: FrameExtractionSignature) -> str:
    """Return a name for a provider's rows: a hash of its parameters and of the signature."""
    text = f"{provider_parameters(provider)} {signature.canonical_json()}"
    return f"{provider.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def maker_of(provider: Provider) -> Maker:
    """Return a provider as rows record it."""
    return Maker(provider.name, provider.revision, provider_parameters(provider))


def part_of(name: str) -> str:
    """Return the part of a kind's table for a definition's name.

    >>> part_of("default"), part_of("small")
    ('', 'small')
    """
    return "" if name == DEFAULT else name
