"""The signature of an extraction, and the key made from it.

A `FrameExtractionSignature` is complete: two signatures have the same key if and only if they ask
for the same pixels. It is written as a canonical JSON document (sorted keys, no spaces, ASCII, no
floats). Its key is a readable slug and the first 16 hex digits of a SHA-256 over the document:

    sequence-2fps-224x224-5f0c…        only the hash identifies; the slug is for people

Fields added after the first release are written only if they differ from their default, so that
existing keys stay valid.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from fractions import Fraction
from functools import cache
from typing import Any, Final, Literal, cast, get_args, get_origin, get_type_hints

from frames_pipeline.encodings.encoding import LOSSLESS, FrameEncoding
from frames_pipeline.errors import ConfigError
from frames_pipeline.sampling import (
    DEFAULT_RATE,
    PARAMETERS,
    TARGET_FPS,
    FrameExtractionPolicy,
    Parameter,
    Rate,
    as_rate,
    policy_of,
    positive_int,
)

__all__ = [
    "HASH_PREFIX",
    "REVISION",
    "Colour",
    "CropTo",
    "Deinterlace",
    "FrameExtractionPolicy",
    "FrameExtractionSignature",
    "FramePurpose",
    "Interpolation",
    "PixelAspect",
    "Pixels",
    "Rate",
    "ResizeMode",
    "Rotation",
    "Samples",
    "as_rate",
    "encoding_in",
    "identity_fields",
    "samples_in",
    "signatures_from_seed",
]

ResizeMode = Literal["stretch", "fit", "pad", "crop"]
Interpolation = Literal["bicubic", "bilinear", "area", "lanczos"]
Colour = Literal["ffmpeg", "accurate", "sdr"]
Rotation = Literal["apply", "ignore"]
Pixels = Literal["swscale", "cuda"]
CropTo = Literal["coded", "container"]
Deinterlace = Literal["off", "bwdif"]
PixelAspect = Literal["coded", "square"]
Samples = Literal["rgb8", "rgb16", "gray8", "gray16"]

REVISION: Final = 1
"""Version of the algorithms. Raise it when the same fields would give other bytes."""

HASH_PREFIX: Final = b"frame-signature/v1\n"
"""Prefix of the canonical document in the hash of the key."""
_ALWAYS_WRITTEN: Final = frozenset(
    (
        "colour",
        "interpolation",
        "num_frames",
        "pixels",
        "policy",
        "resize_mode",
        "revision",
        "rotation",
        "target_fps",
        "target_res",
    )
)
"""Fields of the first release. Every other field is written only if it differs from its default, so
that existing keys stay valid."""


@dataclass(frozen=True, slots=True)
class FrameExtractionSignature:
    """All parameters that affect the pixels of an extraction.

    >>> signature = FrameExtractionSignature(policy="sequence", target_fps=2, target_res=(224, 224))
    >>> signature.key
    'sequence-2fps-224x224-7873b7e437c4ed46'
    >>> FrameExtractionSignature.from_json(signature.canonical_json()) == signature
    True
    """

    policy: FrameExtractionPolicy | str = FrameExtractionPolicy.sequence
    """Selection of frames."""
    target_fps: Rate | None = None
    """Frames per second, for `sequence` only; default 2. Kept as a `Fraction`."""
    num_frames: int | None = None
    """Number of frames, for `uniform` only."""
    target_res: tuple[int | None, int | None] | None = None
    """(height, width) in pixels. -1 or `None` for one side keeps the aspect; `None` keeps the
    native size."""
    resize_mode: ResizeMode = "stretch"
    """`stretch`: to exactly `target_res`. `fit`: inside it, keeping the aspect. `pad`: fit, then
    fill with black. `crop`: cover it, then cut the centre. With a native size or one free side all
    modes are the same, and the field becomes `stretch`."""
    interpolation: Interpolation = "bicubic"
    """Resampling filter. For native frames the field becomes `bicubic`."""
    colour: Colour = "ffmpeg"
    """RGB conversion. `ffmpeg`: FFmpeg's default, which equals other decoders for 8-bit video of
    even height. `accurate`: full chroma interpolation and exact rounding, which resized frames
    always get. `sdr`: as `accurate`, and PQ, HLG and wide gamut are converted to BT.709 SDR."""
    rotation: Rotation = "apply"
    """Whether to apply the display matrix: rotation by right angles, mirroring."""
    pixels: Pixels = "swscale"
    """Converter and resizer. `swscale`: on the CPU, bit-exact on every backend. `cuda`: on the
    decoding GPU, in floats, close to `swscale` and with its own key; `colour` has no effect there
    and becomes `ffmpeg`."""
    revision: int = REVISION
    """Version of the algorithms behind these fields."""
    crop: CropTo = "coded"
    """Part of the coded picture. `coded`: all of it. `container`: the area inside the container's
    clean aperture (MP4, MOV) or pixel crop (Matroska), as players show it."""
    deinterlace: Deinterlace = "off"
    """`bwdif`: deinterlace each frame that is flagged interlaced with FFmpeg's filter of that name,
    one frame out per frame in. Progressive frames keep their bytes."""
    pixel_aspect: PixelAspect = "coded"
    """`coded`: sizes count stored pixels. `square`: sizes follow the display aspect, so that
    circles are round; frames of native size are scaled in width."""
    samples: Samples = "rgb8"
    """Channels and bits of a pixel: uint8 or uint16 over the full range, RGB or gray."""
    encoding: FrameEncoding | Mapping[str, Any] | Literal["lossless"] = "lossless"
    """`lossless`, or the lossy image format that every frame goes through once: a `FrameEncoding`
    or a mapping of its fields. Frames then have the pixels that decode from it."""
    seed_fps: Rate | None = field(default=None, compare=False)
    """Rate in `seed_key` for `first`, `middle` and `last`. It affects no pixel, so it is not part
    of the key, and signatures that differ only in it are equal."""

    def __post_init__(self) -> None:
        """Normalise every field; refuse values that are not supported."""
        policy = _choice("policy", self.policy, FrameExtractionPolicy.__members__)
        _set(self, "policy", FrameExtractionPolicy(policy))
        for name, choices in _choices().items():
            _choice(name, getattr(self, name), choices)
        _set(self, "seed_fps", self._checked_seed_rate())
        for parameter in PARAMETERS:
            _set(self, parameter.name, self._checked_parameter(parameter))
        _set(self, "target_res", _checked_resolution(self.target_res))
        if self.target_res is None or None in self.target_res:
            _set(self, "resize_mode", "stretch")
        if self.target_res is None:
            _set(self, "interpolation", "bicubic")
        if self.pixels == "cuda":
            self._check_cuda()
        if self.revision != REVISION:
            message = (
                f"revision {self.revision!r} is not supported; this version supports {REVISION}"
            )
            raise ConfigError(message)
        _set(self, "encoding", self._checked_encoding())

    def _checked_encoding(self) -> FrameEncoding | str:
        """Return the encoding for the samples; refuse one that cannot hold the frames."""
        encoding = FrameEncoding.of(self.encoding)
        if encoding is None:
            return LOSSLESS
        if excess := encoding.excess(*self.resolution):
            message = f"target_res={self.target_res}: {excess}; choose a smaller size, or another "
            raise ConfigError(message + "encoding")
        return encoding.for_samples(self.samples)

    def _check_cuda(self) -> None:
        """Refuse fields that the GPU's converter does not have; `colour` has no effect there."""
        available = {
            "colour": ("ffmpeg", "accurate"),
            "deinterlace": ("off",),
            "samples": ("rgb8",),
        }
        missing = {name: has for name, has in available.items() if getattr(self, name) not in has}
        if missing:
            found = ", ".join(f"{name}: {getattr(self, name)}" for name in missing)
            instead = ", ".join(f"{name}: {has[-1]}" for name, has in missing.items())
            message = f"pixels: cuda has no {found}; set {instead}, or pixels: swscale"
            raise ConfigError(message)
        _set(self, "colour", "ffmpeg")

    def _checked_parameter(self, parameter: Parameter) -> object:
        """Return a field of the policy, normalised; refuse a value where the policy has no such."""
        value = getattr(self, parameter.name)
        if parameter in policy_of(self).parameters:
            return parameter.check(value)
        if value is not None:
            message = f"{parameter.name}={value} has no effect with policy '{self.policy}'"
            others = " or ".join(f"'{name}'" for name in PARAMETERS[parameter])
            raise ConfigError(f"{message}; leave it out, or use policy {others}")
        return None

    def _checked_seed_rate(self) -> Fraction | None:
        if self.seed_fps is None:
            return None
        policy = policy_of(self)
        if not policy.in_nemo_curator or TARGET_FPS in policy.parameters:
            message = f"seed_fps={self.seed_fps} has no effect with policy '{self.policy}'"
            raise ConfigError(message + "; leave it out")
        return as_rate(self.seed_fps)

    @property
    def rate(self) -> Fraction:
        """Frames per second of a `sequence`."""
        return cast(Fraction, self.target_fps)

    @property
    def channels(self) -> int:
        """Number of channels of a pixel: 3 for RGB, 1 for gray."""
        return 3 if self.samples.startswith("rgb") else 1

    @property
    def dtype(self) -> str:
        """NumPy's name of the type of a sample: `uint8` or `uint16`."""
        return "uint16" if self.samples.endswith("16") else "uint8"

    @property
    def image_encoding(self) -> FrameEncoding | None:
        """The lossy encoding; `None` for `lossless`."""
        return self.encoding if isinstance(self.encoding, FrameEncoding) else None

    @property
    def resolution(self) -> tuple[int | None, int | None]:
        """(height, width), with `None` for a free side."""
        return self.target_res or (None, None)

    def canonical_json(self) -> str:
        """Return the canonical document: sorted keys, no spaces, ASCII, no floats."""
        document = {
            one.name: _plain(getattr(self, one.name))
            for one in identity_fields()
            if one.name in _ALWAYS_WRITTEN or getattr(self, one.name) != one.default
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, document: str | bytes) -> FrameExtractionSignature:
        """Parse a canonical document. Unknown fields raise `ConfigError`."""
        try:
            values = json.loads(document)
        except ValueError as error:
            message = f"not a signature document: {error}"
            raise ConfigError(message) from error
        return cls.from_mapping(values)

    @classmethod
    def from_mapping(cls, values: object) -> FrameExtractionSignature:
        """Make a signature from plain values, as read from JSON, YAML or run config."""
        if not isinstance(values, Mapping):
            message = f"a signature is a mapping of its fields, not {values!r}"
            raise ConfigError(message)
        known = [one.name for one in identity_fields()]
        if unknown := sorted(set(map(str, values)) - set(known)):
            message = f"no signature field {unknown[0]!r}; the fields are {', '.join(known)}"
            raise ConfigError(message)
        return cls(**values)

    @property
    def key(self) -> str:
        """Slug and hash: the name of this signature in stores and assets."""
        digest = hashlib.sha256(HASH_PREFIX + self.canonical_json().encode()).hexdigest()
        return f"{self._slug()}-{digest[:16]}"

    def _slug(self) -> str:
        parameters = policy_of(self).parameters
        parts = [str(self.policy)]
        parts += [one.spell(getattr(self, one.name)) for one in parameters]
        if self.target_res is None:
            parts.append("native")
        else:
            parts.append(
                "x".join("auto" if side is None else str(side) for side in self.resolution)
            )
        return "-".join(parts)

    def seed_key(self) -> str:
        """Return the key of such frames in NeMo Curator, for migration.

        That key has only the policy and the rate in thousandths, so different signatures share one.
        In NeMo Curator `first`, `middle` and `last` have a rate, too: it is `seed_fps` here, by
        default 2 frames per second as there.

        >>> FrameExtractionSignature(target_fps=2, target_res=(224, 224)).seed_key()
        'FrameExtractionPolicy.sequence-2000'
        >>> FrameExtractionSignature(policy="middle", seed_fps=1).seed_key()
        'FrameExtractionPolicy.middle-1000'
        """
        if not policy_of(self).in_nemo_curator:
            message = f"NeMo Curator has no policy '{self.policy}' and so no key; use `key` instead"
            raise ConfigError(message)
        rate = cast(Fraction, self.target_fps or self.seed_fps or DEFAULT_RATE)
        # in floats, as there: 1.001 * 1000 is a little less than 1001
        return f"FrameExtractionPolicy.{self.policy}-{int(float(rate) * 1000)}"

    def __str__(self) -> str:
        """Return the key."""
        return self.key


class FramePurpose(enum.Enum):
    """Purposes of frames in NeMo Curator; the value is the rate in frames per second."""

    AESTHETICS = 1
    EMBEDDINGS = 2

    def signature(
        self, target_res: tuple[int | None, int | None] | None = None
    ) -> FrameExtractionSignature:
        """Return the signature of a sequence at this purpose's rate."""
        return FrameExtractionSignature(target_fps=self.value, target_res=target_res)


def signatures_from_seed(
    *,
    extraction_policies: Iterable[FrameExtractionPolicy | str] = ("sequence",),
    extract_purposes: Iterable[FramePurpose | str] | None = None,
    target_res: tuple[int | None, int | None] | None = None,
    target_fps: Iterable[Rate] | None = None,
) -> tuple[FrameExtractionSignature, ...]:
    """Return the signatures for NeMo Curator's stage parameters, without duplicates.

    As there, `target_fps` wins over `extract_purposes`, and the default is 2. A policy without a
    rate gives one signature; its `seed_key` uses the first of the rates.

    >>> [s.seed_key() for s in signatures_from_seed(extract_purposes=["AESTHETICS", "EMBEDDINGS"])]
    ['FrameExtractionPolicy.sequence-1000', 'FrameExtractionPolicy.sequence-2000']
    """
    if target_fps is not None:
        rates = [as_rate(rate) for rate in target_fps]
    elif extract_purposes is not None:
        rates = [Fraction(_purpose(purpose).value) for purpose in extract_purposes]
    else:
        rates = [DEFAULT_RATE]
    if not rates:
        message = "no rate given: target_fps or extract_purposes is empty; omit it for the default"
        raise ConfigError(message)
    signatures: dict[FrameExtractionSignature, None] = {}
    for policy in extraction_policies:
        has_rate = policy == FrameExtractionPolicy.sequence
        for rate in rates:
            signature = FrameExtractionSignature(
                policy,
                target_fps=rate if has_rate else None,
                target_res=target_res,
                seed_fps=None if has_rate else rate,
            )
            signatures.setdefault(signature)
    return tuple(signatures)


def samples_in(document: Mapping[str, Any]) -> str:
    """Return the samples of a signature's document, which any version may have written.

    >>> samples_in({"policy": "middle"})
    'rgb8'
    """
    return str(document.get("samples", "rgb8"))


def encoding_in(document: Mapping[str, Any]) -> FrameEncoding | None:
    """Return the lossy encoding in a signature's document; `None` for `lossless`.

    >>> encoding_in({"policy": "middle"}) is None
    True

    Raises:
        ConfigError: A later version wrote it, with an encoding that this one does not know.
    """
    return FrameEncoding.of(document.get("encoding", LOSSLESS))


@cache
def identity_fields() -> tuple[Field[Any], ...]:
    """Return the fields that make up the key: all that a document may have."""
    return tuple(one for one in fields(FrameExtractionSignature) if one.compare)


@cache
def _choices() -> Mapping[str, tuple[str, ...]]:
    """Return the allowed values of each `Literal` field."""
    hints = get_type_hints(FrameExtractionSignature)
    return {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is Literal}


def _plain(value: Any) -> Any:  # noqa: ANN401 - values of fields, and JSON
    """Return a field's value as written in the document: exact, with rates as text."""
    if isinstance(value, Fraction | enum.Enum):
        return str(value)
    if isinstance(value, FrameEncoding):
        return value.to_document()
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    return value


def _set(signature: FrameExtractionSignature, name: str, value: object) -> None:
    object.__setattr__(signature, name, value)


def _choice(name: str, value: object, choices: Iterable[str]) -> str:
    if not isinstance(value, str) or value not in choices:
        message = f"no {name} {value!r}; choose one of {', '.join(choices)}"
        raise ConfigError(message)
    return value


def _purpose(purpose: FramePurpose | str) -> FramePurpose:
    if isinstance(purpose, FramePurpose):
        return purpose
    return FramePurpose[_choice("purpose", purpose, FramePurpose.__members__)]


def _checked_resolution(value: object) -> tuple[int | None, int | None] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Iterable):
        message = f"target_res={value!r} must be (height, width), with -1 for a side that is free"
        raise ConfigError(message)
    sides = [None if side in (None, -1) else side for side in value]
    if len(sides) != 2:
        message = f"target_res={value!r} must have two sides, (height, width)"
        raise ConfigError(message)
    height, width = (None if side is None else positive_int("target_res", side) for side in sides)
    return None if height is None and width is None else (height, width)
