"""A signature stands for the pixels: one key if and only if the same pixels are asked for."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline import (
    ConfigError,
    FrameExtractionPolicy,
    FrameExtractionSignature,
    FramePurpose,
    signatures_from_seed,
)

GOLDEN = {
    "first-native-337fb89509fb0884": {"policy": "first"},
    "sequence-2fps-224x224-7873b7e437c4ed46": {"target_fps": 2, "target_res": (224, 224)},
}


def signatures() -> st.SearchStrategy[FrameExtractionSignature]:
    side = st.one_of(st.none(), st.integers(1, 4096))
    common: dict[str, st.SearchStrategy[Any]] = {
        "target_res": st.one_of(st.none(), st.tuples(side, side)),
        "resize_mode": st.sampled_from(["stretch", "fit", "pad", "crop"]),
        "interpolation": st.sampled_from(["bicubic", "bilinear", "area", "lanczos"]),
        "colour": st.sampled_from(["ffmpeg", "accurate"]),
        "rotation": st.sampled_from(["apply", "ignore"]),
        "crop": st.sampled_from(["coded", "container"]),
    }
    policies: list[dict[str, st.SearchStrategy[Any]]] = [
        {"policy": st.sampled_from(["first", "middle", "last", "keyframes"])},
        {"policy": st.just("uniform"), "num_frames": st.integers(1, 1000)},
        {
            "policy": st.just("sequence"),
            "target_fps": st.fractions(min_value=Fraction(1, 100), max_value=1000),
        },
    ]
    return st.one_of(
        *(st.builds(FrameExtractionSignature, **policy, **common) for policy in policies)
    )


def pixels_asked_for(signature: FrameExtractionSignature) -> tuple[object, ...]:
    """What decides the pixels, told without the class's own normalisation."""
    height, width = signature.target_res or (None, None)
    native, box = height is None and width is None, None not in (height, width)
    return (
        str(signature.policy),
        signature.target_fps,
        signature.num_frames,
        (height, width),
        signature.resize_mode if box else "",
        "" if native else signature.interpolation,
        signature.colour,
        signature.rotation,
        signature.pixels,
        signature.crop,
    )


FIRST_RELEASE = {
    "colour", "interpolation", "num_frames", "pixels", "policy", "resize_mode", "revision",
    "rotation", "target_fps", "target_res",
}  # fmt: skip
"""The fields in every document of version 0.1."""


def document_of_first_release(signature: FrameExtractionSignature) -> str:
    """Return the document as version 0.1 wrote it."""
    rate, size = signature.target_fps, signature.target_res
    document = {
        "colour": signature.colour,
        "interpolation": signature.interpolation,
        "num_frames": signature.num_frames,
        "pixels": signature.pixels,
        "policy": str(signature.policy),
        "resize_mode": signature.resize_mode,
        "revision": 1,
        "rotation": signature.rotation,
        "target_fps": None if rate is None else str(rate),
        "target_res": None if size is None else list(size),
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


@given(signatures())
def test_documents_of_the_first_release_stand(signature: FrameExtractionSignature) -> None:
    """A later field is written only if it is not the default, and changes nothing else."""
    old = document_of_first_release(signature)
    later = [one for one in dataclasses.fields(signature) if one.name not in FIRST_RELEASE]
    defaults = {one.name: one.default for one in later}
    as_it_was = dataclasses.replace(signature, **defaults)  # type: ignore[arg-type]
    assert as_it_was.canonical_json() == old
    assert FrameExtractionSignature.from_json(old) == as_it_was
    said = json.loads(signature.canonical_json())
    changed = {
        one.name for one in later if one.compare and getattr(signature, one.name) != one.default
    }
    assert set(said) == FIRST_RELEASE | changed
    assert {name: said[name] for name in FIRST_RELEASE} == json.loads(old)


def test_every_choice_of_every_field_is_another_key_but_the_default() -> None:
    """The test finds later fields by their annotations."""
    native = FrameExtractionSignature(policy="first", target_res=(4, 6))
    for name, hint in get_type_hints(FrameExtractionSignature).items():
        if get_origin(hint) is not Literal:
            continue
        made = [dataclasses.replace(native, **{name: value}) for value in get_args(hint)]
        assert len({one.key for one in made}) == len(made) == len(set(made))
        assert getattr(native, name) == getattr(made[0], name)
        wrong: Any = {name: "neither"}
        with pytest.raises(ConfigError, match=f"no {name} 'neither'; choose one of"):
            dataclasses.replace(native, **wrong)
        for one in made:
            assert FrameExtractionSignature.from_json(one.canonical_json()) == one


@given(signatures(), signatures())
def test_one_key_if_and_only_if_the_same_pixels(
    one: FrameExtractionSignature, other: FrameExtractionSignature
) -> None:
    assert (one.key == other.key) == (pixels_asked_for(one) == pixels_asked_for(other))
    assert (one == other) == (one.key == other.key)


@given(signatures())
def test_the_document_is_canonical_and_leads_back(signature: FrameExtractionSignature) -> None:
    document = signature.canonical_json()

    assert FrameExtractionSignature.from_json(document) == signature
    assert document.isascii()
    assert " " not in document
    values = json.loads(document, parse_float=lambda text: pytest.fail(f"a float: {text}"))
    assert list(values) == sorted(values)


@pytest.mark.parametrize(("key", "fields"), GOLDEN.items())
def test_keys_that_were_given_out_stand(key: str, fields: dict[str, Any]) -> None:
    assert FrameExtractionSignature(**fields).key == key


def test_the_document_spells_every_default_out() -> None:
    assert FrameExtractionSignature(target_fps="30000/1001").canonical_json() == (
        '{"colour":"ffmpeg","interpolation":"bicubic","num_frames":null,"pixels":"swscale",'
        '"policy":"sequence","resize_mode":"stretch","revision":1,"rotation":"apply",'
        '"target_fps":"30000/1001","target_res":null}'
    )


@pytest.mark.parametrize("rate", [2, 2.0, "2", "4/2", Fraction(2), Decimal(2)])
def test_a_rate_is_what_is_written(rate: Any) -> None:
    assert FrameExtractionSignature(target_fps=rate).rate == 2


def test_a_float_rate_is_taken_as_its_decimal() -> None:
    assert FrameExtractionSignature(target_fps=0.1).rate == Fraction(1, 10)
    assert FrameExtractionSignature(target_fps=29.97).rate == Fraction(2997, 100)


@pytest.mark.parametrize("free", [(224, -1), (224, None)])
def test_a_free_side_may_be_written_either_way(free: Any) -> None:
    signature = FrameExtractionSignature(target_fps=2, target_res=free)
    assert signature.resolution == (224, None)
    assert "224xauto" in signature.key
    assert FrameExtractionSignature(target_fps=2, target_res=(-1, -1)).target_res is None


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"policy": "frist"}, "no policy 'frist'; choose one of first, middle, last, sequence"),
        ({"target_fps": 0}, "rate 0 must be above zero"),
        ({"target_fps": -1}, "rate -1 must be above zero"),
        ({"target_fps": float("nan")}, "rate nan is not a number"),
        ({"target_fps": "fast"}, "rate 'fast' is not a number; write it as 2, 0.5 or"),
        ({"target_fps": True}, "rate True is not a number"),
        ({"policy": "middle", "target_fps": 2}, "has no effect with policy 'middle'"),
        ({"policy": "first", "num_frames": 2}, "has no effect with policy 'first'"),
        ({"policy": "uniform"}, "num_frames=None must be a whole number above zero"),
        ({"policy": "uniform", "num_frames": 0}, "num_frames=0 must be a whole number"),
        ({"policy": "uniform", "num_frames": 1.5}, "num_frames=1.5 must be a whole number"),
        ({"target_res": 224}, r"target_res=224 must be \(height, width\)"),
        ({"target_res": (224,)}, "must have two sides"),
        ({"target_res": (224, 0)}, "target_res=0 must be a whole number above zero"),
        ({"target_res": (224, -2)}, "target_res=-2 must be a whole number above zero"),
        ({"target_res": "224x224"}, "must be .height, width."),
        ({"resize_mode": "zoom"}, "no resize_mode 'zoom'; choose one of stretch, fit, pad, crop"),
        ({"interpolation": "cubic"}, "no interpolation 'cubic'"),
        ({"colour": "hdr"}, "no colour 'hdr'; choose one of ffmpeg, accurate"),
        ({"rotation": 90}, "no rotation 90; choose one of apply, ignore"),
        ({"pixels": "cuvid"}, "no pixels 'cuvid'; choose one of swscale, cuda"),
        ({"revision": 9}, "revision 9 is not supported"),
        ({"crop": "clap"}, "no crop 'clap'; choose one of coded, container"),
        ({"seed_fps": 1}, "seed_fps=1 has no effect with policy 'sequence'"),
        ({"policy": "keyframes", "seed_fps": 1}, "has no effect with policy 'keyframes'"),
        ({"policy": "first", "seed_fps": 0}, "rate 0 must be above zero"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_can(fields: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        FrameExtractionSignature(**fields)


def test_an_unknown_document_is_refused() -> None:
    with pytest.raises(ConfigError, match="no signature field 'codec'; the fields are policy"):
        FrameExtractionSignature.from_json('{"policy":"first","codec":"h264"}')
    with pytest.raises(ConfigError, match="not a signature document"):
        FrameExtractionSignature.from_json("{")
    with pytest.raises(ConfigError, match=r"a signature is a mapping of its fields, not \[\]"):
        FrameExtractionSignature.from_json("[]")


def test_seed_keys_are_the_seeds() -> None:
    assert (
        FrameExtractionSignature(target_fps=2).seed_key() == "FrameExtractionPolicy.sequence-2000"
    )
    assert FrameExtractionSignature(policy="middle").seed_key() == (
        "FrameExtractionPolicy.middle-2000"
    )
    assert FrameExtractionSignature(target_fps="30000/1001").seed_key().endswith("-29970")
    with pytest.raises(ConfigError, match="NeMo Curator has no policy 'keyframes'"):
        FrameExtractionSignature(policy="keyframes").seed_key()


def key_of_the_seed(policy: str, target_fps: float) -> str:
    """Return the key of NeMo Curator's `to_str`: `str` of its enum, and thousandths."""
    return f"FrameExtractionPolicy.{policy}-{int(target_fps * 1000)}"


@given(
    st.sampled_from(["first", "middle", "last", "sequence"]),
    st.one_of(st.integers(1, 240), st.floats(0.01, 240)),
)
def test_seed_keys_carry_the_rate_as_the_seed_does(policy: Any, rate: float) -> None:
    """Covers all of its policies and its float arithmetic: 1.001 * 1000 is just below 1001."""
    [signature] = signatures_from_seed(extraction_policies=[policy], target_fps=[rate])
    assert signature.seed_key() == key_of_the_seed(policy, rate)


def test_the_seeds_rate_is_no_part_of_the_key() -> None:
    plain = FrameExtractionSignature(policy="middle")
    other = FrameExtractionSignature(policy="middle", seed_fps="30000/1001")
    assert (plain, plain.key) == (other, other.key)
    assert len({plain, other}) == 1
    assert other.seed_key() == "FrameExtractionPolicy.middle-29970"
    assert "seed_fps" not in other.canonical_json()
    with pytest.raises(ConfigError, match="no signature field 'seed_fps'"):
        FrameExtractionSignature.from_mapping({"policy": "middle", "seed_fps": 1})
    several = signatures_from_seed(extraction_policies=["last"], target_fps=[4, 1])
    assert [one.seed_key() for one in several] == ["FrameExtractionPolicy.last-4000"]


def test_purposes_are_rates() -> None:
    assert FramePurpose.AESTHETICS.signature().rate == 1
    assert FramePurpose.EMBEDDINGS.signature((224, 224)).resolution == (224, 224)


def test_the_seeds_parameters_map_one_to_one() -> None:
    sequence = FrameExtractionPolicy.sequence
    assert [s.rate for s in signatures_from_seed()] == [2]
    assert [s.rate for s in signatures_from_seed(extract_purposes=list(FramePurpose))] == [1, 2]
    both = signatures_from_seed(
        extraction_policies=(sequence, "middle"), target_fps=[1, 4], target_res=(27, 48)
    )
    assert [(str(s.policy), s.target_fps) for s in both] == [
        ("sequence", 1),
        ("sequence", 4),
        ("middle", None),
    ]
    assert {s.resolution for s in both} == {(27, 48)}
    with pytest.raises(ConfigError, match="no rate given"):
        signatures_from_seed(target_fps=[])
    with pytest.raises(ConfigError, match="no purpose 'MOTION'; choose one of AESTHETICS"):
        signatures_from_seed(extract_purposes=["MOTION"])
