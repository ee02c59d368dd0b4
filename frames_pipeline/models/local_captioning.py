"""Captions from a local image-text model, with transformers."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final, Literal, NamedTuple, get_args

from PIL import Image

from frames_pipeline.errors import ConfigError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.models import check_choice, check_frames, check_whole
from frames_pipeline.models.captioning import QUESTION, Caption, CaptionError, caption_text
from frames_pipeline.models.pretrained import (
    Device,
    Precision,
    Pretrained,
    check_precision,
    device_name,
    device_of,
    import_models,
)
from frames_pipeline.models.shown_frames import shown_frames


@dataclass(frozen=True, slots=True)
class TransformersCaptioner:
    """An image-text model of the Hugging Face hub or in a folder, with a class in transformers.

    A model with a chat template (SmolVLM, Idefics3, Qwen-VL, LLaVA, ...) gets all frames at once
    and answers the prompt. A model without one (BLIP, GIT) gets one frame at a time: the prompt is
    the start of each sentence, and the caption has one line per distinct sentence. Decoding is
    greedy, so the same frames give the same caption.
    """

    name: ClassVar[str] = "transformers"
    revision: ClassVar[int] = 1
    concurrency: ClassVar[int] = 1

    model: str
    """Id on the hub, or the path of a folder."""
    model_revision: str | None = None
    """Commit on the hub, 40 hex digits; `None` for a folder."""
    prompt: str = QUESTION
    """The prompt about the frames."""
    max_frames: int = 8
    """Maximum frames to use per clip."""
    max_new_tokens: int = 300
    """Maximum tokens of the caption."""
    device: Device = "auto"
    """Device; `auto` is a GPU if there is one."""
    dtype: Precision = "float32"
    """Precision of the weights. `float16` needs a GPU; `bfloat16` needs a CPU, or a GPU with
    support for it."""

    def __post_init__(self) -> None:
        """Check every parameter, without reading files or importing libraries."""
        self._pretrained()
        check_whole("max_frames", self.max_frames, smallest=1)
        check_whole("max_new_tokens", self.max_new_tokens, smallest=1)
        check_choice("device", self.device, get_args(Device))
        check_choice("dtype", self.dtype, get_args(Precision))
        check_precision(self.dtype, self.device)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters that affect the caption text."""
        names = ("prompt", "max_frames", "max_new_tokens", "dtype")
        asked = {name: getattr(self, name) for name in names}
        return {
            "name": self.name,
            "revision": self.revision,
            **self._pretrained().identity(),
            **asked,
        }

    @property
    def device_name(self) -> str:
        """Name of the device in use: `cpu`, or a GPU by name.

        Raises:
            ConfigError: The requested device is not available.
        """
        return device_name(device_of(self.device))

    def caption(self, clip: FrameBatch) -> Caption:
        """Return a caption of the clip, from up to `max_frames` of its frames, spread evenly.

        Repeated frames are used once. Damaged frames are used only if all are damaged.
        """
        chosen = shown_frames(clip, self.max_frames)
        check_frames(clip.frames)
        images = [Image.fromarray(frame) for frame in clip.frames[chosen]]
        with _ONE_AT_A_TIME:  # two calls of torch would only slow each other down
            identity = self._pretrained().identity()
            loaded = _loaded(
                self._pretrained(), tuple(identity.values()), device_of(self.device), self.dtype
            )
            answer = loaded.chat(images, self) if loaded.chats else loaded.continued(images, self)
        if not answer.text:
            message = (
                f"{self.model} gave no text for {len(images)} frames; check that it is a model "
            )
            raise CaptionError(message + "for captions and that max_new_tokens is large enough")
        return Caption(
            text=answer.text,
            model=identity["model"],
            positions=tuple(clip.positions[chosen].tolist()),
            pts=tuple(clip.pts[chosen].tolist()),
            finish_reason="length" if answer.is_cut else "stop",
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
        )

    def _pretrained(self) -> Pretrained:
        return Pretrained(self.model, self.model_revision)


_ONE_AT_A_TIME: Final = threading.Lock()


class _Answer(NamedTuple):
    """The output of a model."""

    text: str
    is_cut: bool
    """Whether the text was cut off at the limit."""
    prompt_tokens: int | None
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A loaded model with its processor for images and text."""

    processor: Any
    model: Any

    @property
    def chats(self) -> bool:
        """Whether the model has a chat template."""
        return bool(getattr(self.processor, "chat_template", None))

    def chat(self, images: list[Image.Image], asked: TransformersCaptioner) -> _Answer:
        """Return its answer to the prompt about all images."""
        content = [{"type": "image", "image": image} for image in images]
        message = {"role": "user", "content": [*content, {"type": "text", "text": asked.prompt}]}
        inputs = self.processor.apply_chat_template(
            [message],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        [words], is_cut, _ = self._generate(inputs, asked)
        return _Answer(self._text(words), is_cut, inputs["input_ids"].shape[1], len(words))

    def continued(self, images: list[Image.Image], asked: TransformersCaptioner) -> _Answer:
        """Return one line per image, without repeated lines."""
        if asked.prompt == QUESTION:
            message = (
                f"{asked.model} has no chat template, so it cannot answer a question; set prompt "
            )
            raise ConfigError(message + "to '', or to the beginning of its captions")
        texts = [asked.prompt] * len(images) if asked.prompt.strip() else None
        inputs = self.processor(images=images, text=texts, return_tensors="pt")
        rows, is_cut, before = self._generate(inputs, asked)
        lines = dict.fromkeys(self._text(before + words) for words in rows)
        text = caption_text("\n".join(filter(None, lines)))
        return _Answer(text, is_cut, None, sum(map(len, rows)))

    def _generate(
        self,
        inputs: Any,  # noqa: ANN401 - a BatchFeature
        asked: TransformersCaptioner,
    ) -> tuple[list[list[int]], bool, list[int]]:
        """Return each row's added tokens, whether a row was cut off, and the tokens before."""
        torch = import_models("torch")
        lengths: list[int] = []

        def look(ids: Any, *_: object, **__: object) -> Any:  # noqa: ANN401 - tensors
            """Record the length at every token: models differ in the start of the answer."""
            lengths.append(ids.shape[1])
            return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

        inputs = inputs.to(self.model.device, self.model.dtype)
        try:
            with torch.inference_mode():
                ids = self.model.generate(
                    **inputs,
                    max_new_tokens=asked.max_new_tokens,
                    do_sample=False,
                    num_beams=1,
                    temperature=None,
                    top_p=None,
                    top_k=None,
                    stopping_criteria=[look],
                ).tolist()
        except torch.OutOfMemoryError as error:
            message = f"{asked.model} does not fit on {self.model.device} with these frames: lower "
            raise ConfigError(f"{message}max_frames, or their size in the signature") from error
        start = lengths[0] - 1
        rows = [self._unpadded(row[start:]) for row in ids]
        ends = self.processor.tokenizer.all_special_ids
        cut = [len(row) == asked.max_new_tokens and row[-1] not in ends for row in rows]
        return rows, any(cut), ids[0][:start]

    def _unpadded(self, ids: list[int]) -> list[int]:
        """Return a row without the padding at its end."""
        padding = self.processor.tokenizer.pad_token_id
        while ids and ids[-1] == padding:
            ids = ids[:-1]
        return ids

    def _text(self, ids: list[int]) -> str:
        return caption_text(self.processor.tokenizer.decode(ids, skip_special_tokens=True))


@lru_cache(maxsize=1)
def _loaded(
    pretrained: Pretrained,
    _identity: tuple[str, ...],
    device: Literal["cpu", "cuda"],
    dtype: Precision,
) -> _Loaded:
    """Load a model, once while its files stay the same."""
    transformers, torch = import_models("transformers"), import_models("torch")
    check_precision(dtype, device)
    _check_bfloat16(dtype, device)
    processor = pretrained.load(transformers.AutoProcessor)
    if not hasattr(processor, "tokenizer"):
        message = f"{pretrained.model} is not an image-text model: its processor has no tokenizer"
        raise ConfigError(message)
    model = pretrained.load_weights(
        transformers.AutoModelForImageTextToText, dtype=getattr(torch, dtype)
    ).eval()
    try:
        return _Loaded(processor, model.to(device))
    except torch.OutOfMemoryError as error:
        message = f"{pretrained.model} does not fit on {device} as {dtype}"
        raise ConfigError(f"{message}; choose another dtype, device or model") from error


def _check_bfloat16(dtype: Precision, device: Literal["cpu", "cuda"]) -> None:
    """Check that a GPU supports `bfloat16` without emulation, if that is the precision."""
    if dtype != "bfloat16" or device == "cpu":
        return
    if not import_models("torch").cuda.is_bf16_supported(including_emulation=False):
        message = "this GPU has no bfloat16; choose float16 or float32"
        raise ConfigError(message)
