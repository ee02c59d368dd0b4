"""Embeddings: one vector of unit length per frame, for search by cosine similarity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from frames_pipeline.models import Provider, check_frames, open_provider

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class EmbeddingProvider(Provider, Protocol):
    """Turns frames into vectors whose dot product says how alike two frames are."""

    @property
    def dimensions(self) -> int:
        """Length of its vectors."""
        ...

    def embed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """One unit vector per frame.

        Args:
            frames: RGB pixels. Shape (n, height, width, 3).

        Returns:
            Rows of length 1, whatever the frames show. Shape (n, dimensions).
        """
        ...


@dataclass(frozen=True, slots=True)
class PerceptualEmbedding:
    """Layout of light and colour, for finding near-duplicates; it knows nothing of meaning.

    The frame is averaged to a small grid, the grid's luma and chroma go through a cosine
    transform, and the lowest frequencies are kept, in zigzag order:

        frame ── area mean ──▶ 32x32 grid ── YCbCr, DCT ──▶ 75 luma, 10 Cb, 10 Cr, 1 constant
        (h, w, 3)              (32, 32, 3)                  weighted, then scaled to length 1

    That is the Color Layout Descriptor of MPEG-7 (ISO/IEC 15938-3) with more of the luma, as in
    perceptual hashes (Zauner, "Implementation and Benchmarking of Perceptual Image Hash
    Functions", 2010). A coefficient is weighted by its frequency, because amplitudes in natural
    images fall as 1/f (Field, J. Opt. Soc. Am. A 4, 1987). Mean luma counts little, so that a
    change of brightness does; scaling takes out a change of contrast; the constant holds flat
    frames together, black ones included, and keeps their noise from being blown up.

    Measured on 443 frames of 25 kinds of footage, blank ones left out: resized to a quarter,
    squeezed to a square, compressed to JPEG quality 20 or H.264 at rate factor 34, with noise,
    brightness shifted by 20 levels, or contrast, gamma or saturation changed by up to a fifth, a
    frame has a similarity of 0.955 or more to itself, and its nearest neighbour is always of its
    own footage. Frames of different footage reach 0.60, so 0.9 tells them apart. Mirrored and
    rotated frames are not found, and cropping 3 % off each side costs up to 0.4.

    Every sum is over whole numbers that double precision holds exactly, so a frame's vector
    does not depend on its neighbours in the call, on threads or on the BLAS library.
    """

    name: ClassVar[str] = "perceptual"
    revision: ClassVar[int] = 1
    dimensions: ClassVar[int] = 96

    def parameters(self) -> dict[str, Any]:
        """Name, revision and dimensions: there is nothing to choose."""
        return {"name": self.name, "revision": self.revision, "dimensions": self.dimensions}

    def embed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """One unit vector per frame."""
        from frames_pipeline.models.colour_layout import layout_vectors  # noqa: PLC0415

        check_frames(frames)
        return layout_vectors(frames)


EMBEDDING_PROVIDERS: Final[dict[str, type[EmbeddingProvider] | str]] = {
    PerceptualEmbedding.name: PerceptualEmbedding,
    "transformers": "frames_pipeline.models.vision:VisionTower",
}
"""Embedding providers by name, or where they are."""


def open_embedding_provider(name: str, **parameters: object) -> EmbeddingProvider:
    """The embedding provider of that name.

    >>> open_embedding_provider("perceptual").dimensions
    96

    Raises:
        ConfigError: There is none of that name, or it does not take these parameters.
    """
    return open_provider(
        "embedding",
        name,
        choices=EMBEDDING_PROVIDERS,
        parameters=parameters,
        needs=("dimensions", "embed"),
    )
