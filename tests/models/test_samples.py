"""Providers get the samples that they take, or are refused."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from frames_pipeline.errors import ConfigError
from frames_pipeline.models.captioning import open_caption_provider
from frames_pipeline.models.samples import DEFAULT_SAMPLES, check_samples, samples_taken
from frames_pipeline.pipeline.kinds import KINDS
from tests.models.frame_batches import frame_batch


class Depth:
    """A provider of one's own."""

    name: ClassVar[str] = "depth"
    samples: ClassVar[tuple[str, ...]] = ("gray16", "rgb8")


OURS = {
    ("embeddings", "perceptual"): ("rgb8",),
    ("embeddings", "transformers"): ("rgb8",),
    ("quality", "technical"): ("rgb8", "gray8"),
    ("quality", "aesthetic"): ("rgb8",),
    ("captions", "openai"): ("rgb8",),
    ("captions", "transformers"): ("rgb8",),
}


@pytest.mark.parametrize(("one", "taken"), OURS.items())
def test_what_the_library_s_providers_take(one: tuple[str, str], taken: tuple[str, ...]) -> None:
    """Without opening them."""
    kind, name = one
    find = KINDS[kind].provider_class
    assert find is not None
    assert samples_taken(find(name)) == taken
    assert DEFAULT_SAMPLES[0] in taken  # so that loading definitions need not import the class


def test_a_provider_declares_what_it_takes() -> None:
    assert samples_taken(Depth) == samples_taken(Depth()) == ("gray16", "rgb8")
    check_samples("embeddings.x", Depth, name="depth", signature="s", samples="gray16")
    with pytest.raises(ConfigError) as caught:
        check_samples("embeddings.x", Depth, name="depth", signature="s", samples="gray8")
    assert str(caught.value) == (
        "embeddings.x: provider 'depth' takes gray16 or rgb8 frames, and signature 's' has "
        "samples: gray8; choose a signature with samples: gray16, or a provider that takes gray8 "
        "(docs/guides/own-models.md)"
    )


@pytest.mark.parametrize("samples", ["gray16", ("gray12",), (), None])
def test_samples_that_no_signature_has(samples: Any) -> None:
    class Odd(Depth):
        pass

    Odd.samples = samples
    with pytest.raises(ConfigError, match=r"provider 'depth' has samples=.*to a tuple of rgb8, "):
        samples_taken(Odd)


def test_a_captioner_that_is_called_directly_refuses_other_frames() -> None:
    provider = open_caption_provider("openai", base_url="http://localhost:1/v1", model="m")
    with pytest.raises(
        ConfigError, match=r"frames must be uint8 \(n, height, width, 3\), not uint16"
    ):
        provider.caption(frame_batch(np.zeros((2, 4, 4, 1), np.uint16)))
