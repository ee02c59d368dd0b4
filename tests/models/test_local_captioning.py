"""Captions by models that run here; transformers used by hand is the oracle."""

from __future__ import annotations

import importlib
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frames_pipeline.errors import ConfigError, NoFramesError
from frames_pipeline.models.captioning import QUESTION, open_caption_provider
from frames_pipeline.models.local_captioning import TransformersCaptioner
from frames_pipeline.models.pretrained import import_models
from tests.libraries import need
from tests.models.frame_batches import flat_frames, frame_batch, scene
from tests.models.tiny_models import make_blip, make_idefics3

COMMIT = "0123456789abcdef0123456789abcdef01234567"
COLOURS = flat_frames((255, 0, 0), (0, 255, 0), (0, 0, 255))
SCENES = np.stack([scene(1), scene(2)])


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    need("torch", "transformers")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="session")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("torch", "transformers")
    return make_blip(tmp_path_factory.mktemp("models") / "blip")


@pytest.fixture(scope="session")
def idefics3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("torch", "transformers")
    return make_idefics3(tmp_path_factory.mktemp("models") / "idefics3")


def captioner(folder: Path, **parameters: Any) -> TransformersCaptioner:
    said: dict[str, Any] = {"device": "cpu", "max_new_tokens": 8} | parameters
    return TransformersCaptioner(str(folder), **said)


def test_a_chat_model_answers_as_the_pipeline_of_transformers(idefics3: Path) -> None:
    caption = captioner(idefics3, prompt="What?").caption(frame_batch(COLOURS))

    images = [{"type": "image", "image": Image.fromarray(frame)} for frame in COLOURS]
    content = [*images, {"type": "text", "text": "What?"}]
    pipeline = import_models("transformers").pipeline(
        "image-text-to-text", model=str(idefics3), device="cpu"
    )
    [said] = pipeline(
        text=[{"role": "user", "content": content}],
        max_new_tokens=8,
        generate_kwargs={"do_sample": False},
        return_full_text=False,
    )
    assert caption.text == said["generated_text"].strip()
    assert caption.positions == (0, 1, 2)
    assert caption.pts == (0, 512, 1024)
    assert caption.model == "idefics3"


def test_tokens_are_counted(idefics3: Path) -> None:
    """Four per picture, one per byte of the prompt, and as many more for either as there are."""

    def asked(prompt: str, frames: Any) -> int:
        provider = captioner(idefics3, prompt=prompt)
        count = provider.caption(frame_batch(frames)).prompt_tokens
        assert count is not None
        return count

    one = asked("What?", COLOURS[:1])
    assert asked("What is it?", COLOURS[:1]) - one == len(" is it")
    per_picture = asked("What?", COLOURS[:2]) - one
    assert per_picture >= 4
    assert asked("What?", COLOURS) - one == 2 * per_picture
    caption = captioner(idefics3).caption(frame_batch(COLOURS))
    assert caption.completion_tokens == 8
    assert caption.finish_reason == "length"


@pytest.mark.parametrize("prompt", ["", "a photo of"])
def test_a_plain_captioner_has_a_line_for_every_frame(blip: Path, prompt: str) -> None:
    """As BLIP's own example has it, each said once."""
    transformers = import_models("transformers")
    processor = transformers.AutoProcessor.from_pretrained(blip)
    model = transformers.BlipForConditionalGeneration.from_pretrained(blip).eval()
    lines = []
    for frame in (COLOURS[0], COLOURS[1], COLOURS[0], SCENES[0, :48, :64]):
        inputs = processor(Image.fromarray(frame), *([prompt] * bool(prompt)), return_tensors="pt")
        ids = model.generate(**inputs, max_new_tokens=8, do_sample=False)
        lines.append(processor.decode(ids[0], skip_special_tokens=True))
    assert len(set(lines)) > 1

    clip = frame_batch(np.stack([COLOURS[0], COLOURS[1], COLOURS[0], SCENES[0, :48, :64]]))
    caption = captioner(blip, prompt=prompt).caption(clip)
    assert caption.text.splitlines() == list(dict.fromkeys(lines))
    assert caption.text.startswith(prompt)
    assert caption.prompt_tokens is None


def test_a_plain_captioner_answers_no_question(blip: Path) -> None:
    with pytest.raises(ConfigError, match="no chat template, so it cannot answer a question; set"):
        captioner(blip).caption(frame_batch(COLOURS))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_frames_give_the_same_caption_and_others_another(
    idefics3: Path, dtype: Any
) -> None:
    provider = captioner(idefics3, dtype=dtype)
    first = provider.caption(frame_batch(COLOURS))
    assert provider.caption(frame_batch(COLOURS)) == first
    assert provider.caption(frame_batch(COLOURS[::-1])).text != first.text
    assert provider.caption(frame_batch(SCENES)).text != first.text


def test_frames_are_spread_and_spared(idefics3: Path) -> None:
    """The same frames are shown as are sent to an endpoint."""
    clip = frame_batch(flat_frames(*[(i, i, i) for i in range(10)]))
    assert captioner(idefics3, max_frames=3).caption(clip).positions == (1, 5, 8)
    damaged = frame_batch(COLOURS, corrupt=[0])
    assert captioner(idefics3).caption(damaged).positions == (1, 2)
    with pytest.raises(NoFramesError, match="no frames to caption"):
        captioner(idefics3).caption(frame_batch(flat_frames()))


def test_it_is_known_by_weights_and_question(idefics3: Path, tmp_path: Path) -> None:
    """Wherever it runs, and not by where its files are."""
    copy = Path(shutil.copytree(idefics3, tmp_path / "idefics3"))
    here, there = captioner(idefics3, device="cpu"), captioner(copy, device="auto")
    assert here.parameters() == there.parameters()
    assert here.parameters() == {
        "name": "transformers",
        "revision": 1,
        "model": "idefics3",
        "model_sha256": here.parameters()["model_sha256"],
        "prompt": QUESTION,
        "max_frames": 8,
        "max_new_tokens": 8,
        "dtype": "float32",
    }
    for changed in ({"prompt": "Who?"}, {"max_new_tokens": 9}, {"dtype": "bfloat16"}):
        assert captioner(idefics3, **changed).parameters() != here.parameters()
    assert pickle.loads(pickle.dumps(here)).parameters() == here.parameters()


def test_weights_that_change_are_another_model(idefics3: Path, tmp_path: Path) -> None:
    """Also for a provider that has read them before."""
    copy = Path(shutil.copytree(idefics3, tmp_path / "idefics3"))
    provider = captioner(copy)
    before, said = provider.parameters(), provider.caption(frame_batch(SCENES)).text
    weights = import_models("transformers").AutoModelForImageTextToText.from_pretrained(copy)
    weights.lm_head.weight.data.neg_()
    weights.save_pretrained(copy)
    assert provider.parameters() != before
    assert provider.caption(frame_batch(SCENES)).text != said


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"model": "HuggingFaceTB/SmolVLM-256M-Instruct"}, "pin its commit"),
        ({"model": "owner/name", "model_revision": "main"}, "is not a commit"),
        ({"model_revision": "no folder"}, "is not a commit"),
        ({"model": "owner/name", "model_revision": COMMIT, "max_frames": 0}, "max_frames=0"),
        ({"model": "owner/name", "model_revision": COMMIT, "max_new_tokens": 0}, "max_new_tok"),
        (
            {"model": "owner/name", "model_revision": COMMIT, "device": "tpu"},
            "no device 'tpu'; choose one of auto",
        ),
        (
            {"model": "owner/name", "model_revision": COMMIT, "dtype": "int8"},
            "no dtype 'int8'; choose one of",
        ),
        (
            {
                "model": "owner/name",
                "model_revision": COMMIT,
                "device": "cpu",
                "dtype": "float16",
            },
            "dtype 'float16' is for GPUs",
        ),
    ],
)
def test_parameters_that_cannot_be(parameters: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        open_caption_provider("transformers", **{"model": "/nowhere"} | parameters)


def test_half_precision_is_not_pretended(idefics3: Path) -> None:
    """With `auto`, it permits out where it runs when it does."""
    if import_models("torch").cuda.is_available():
        pytest.skip("there is a GPU")
    provider = captioner(idefics3, device="auto", dtype="float16")
    with pytest.raises(ConfigError, match="dtype 'float16' is for GPUs"):
        provider.caption(frame_batch(COLOURS))
    assert captioner(idefics3, device="auto").device_name == "cpu"


def test_a_model_of_another_kind_is_refused(idefics3: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(idefics3, tmp_path / "text"))
    transformers = import_models("transformers")
    config = transformers.LlamaConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=300
    )
    transformers.LlamaForCausalLM(config).save_pretrained(copy)
    with pytest.raises(ConfigError, match=r"cannot load .*text: ValueError: Unrecognized config"):
        captioner(copy).caption(frame_batch(COLOURS))


def test_weights_that_are_missing_are_not_made_up(blip: Path, tmp_path: Path) -> None:
    """As transformers would, with a warning."""
    copy = Path(shutil.copytree(blip, tmp_path / "blip"))
    weights = import_models("transformers").AutoModelForImageTextToText.from_pretrained(copy)
    state = weights.state_dict()
    state.pop("vision_model.post_layernorm.weight")
    weights.save_pretrained(copy, state_dict=state)
    with pytest.raises(ConfigError, match=r"blip has no weights for vision_model\.post_layernorm"):
        captioner(copy, prompt="").caption(frame_batch(COLOURS))


@pytest.mark.gpu
def test_on_a_gpu_it_says_much_the_same(idefics3: Path) -> None:
    """In single precision the same words; in half, words at all."""
    if not import_models("torch").cuda.is_available():
        pytest.fail("no GPU") if os.environ.get("REQUIRE_GPU") else pytest.skip("no GPU")
    clip = frame_batch(COLOURS)
    on_gpu = captioner(idefics3, device="auto")
    assert on_gpu.device_name == import_models("torch").cuda.get_device_name()
    assert on_gpu.caption(clip) == captioner(idefics3).caption(clip)
    for dtype in ("float16", "bfloat16"):
        assert captioner(idefics3, device="cuda", dtype=dtype).caption(clip).text


def test_offline_the_error_says_what_to_do() -> None:
    provider = TransformersCaptioner("owner/not-downloaded", COMMIT, device="cpu")
    with pytest.raises(ConfigError, match=f"hf download owner/not-downloaded --revision {COMMIT}"):
        provider.caption(frame_batch(COLOURS))


def test_without_the_extra(idefics3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = captioner(idefics3, max_new_tokens=7)
    shutil.copytree(idefics3, other := idefics3.with_name("other"), dirs_exist_ok=True)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"pip install 'frames-pipeline\[models\]'"):
        captioner(other).caption(frame_batch(COLOURS))
    assert provider.model == str(idefics3)


def test_setting_one_up_imports_nothing_heavy() -> None:
    """Definitions load without torch, and so does the identity of a pinned model."""
    code = (
        "import sys\n"
        "from frames_pipeline.models.captioning import open_caption_provider\n"
        "p = open_caption_provider('transformers', model='owner/name', "
        f"model_revision='{COMMIT}')\n"
        "assert p.parameters()['model_revision']\n"
        "print({'torch', 'transformers', 'huggingface_hub', 'openai'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert importlib.util.find_spec("torch")
