"""Generated image-text models with random weights: they test the code path, not the captions."""

from __future__ import annotations

from pathlib import Path

from frames_pipeline.models.pretrained import import_models

WORDS = ("a", "the", "dog", "cat", "red", "green", "frame", "of", "on", "grass", "runs", "photo")
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}: "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def make_blip(folder: Path) -> Path:
    """Make a captioner without a chat template: one picture, one line."""
    _prepare()
    transformers = import_models("transformers")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokenizer = transformers.BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)})
    assert len(tokenizer) == len(vocabulary)
    small: dict[str, float] = {
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    small["initializer_range"] = 0.5
    begin = len(vocabulary)  # a token missing from the tokenizer, as in BLIP's own checkpoints
    text = {"hidden_size": 32, "vocab_size": begin + 1, "encoder_hidden_size": 32, **small}
    special = {"bos_token_id": begin, "sep_token_id": 3, "eos_token_id": 3, "pad_token_id": 0}
    vision = {"hidden_size": 32, "image_size": 64, "patch_size": 16, **small}
    config = transformers.BlipConfig(
        text_config={**text, **special},
        vision_config=vision,
        projection_dim=32,
        initializer_range=0.5,
    )
    model = transformers.BlipForConditionalGeneration(config)
    return _saved(
        folder,
        model,
        transformers.BlipProcessor(
            transformers.BlipImageProcessorPil(size={"height": 64, "width": 64}), tokenizer
        ),
    )


def make_idefics3(folder: Path) -> Path:
    """Make a chat model for several pictures at once, with the architecture of SmolVLM."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: PLC0415

    _prepare()
    transformers = import_models("transformers")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    rows = [f"<row_{row}_col_{col}>" for row in range(1, 5) for col in range(1, 5)]
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        bos_token="<|im_start|>",
        eos_token="<end_of_utterance>",
        pad_token="<pad>",
        additional_special_tokens=["<image>", "<fake_token_around_image>", "<global-img>", *rows],
    )
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    small: dict[str, float] = {
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    text = {"model_type": "llama", "hidden_size": 32, "vocab_size": len(tokenizer)}
    config = transformers.Idefics3Config(
        vision_config={"hidden_size": 32, "image_size": 64, "patch_size": 16, **small},
        text_config={
            **text,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            **small,
            **ids,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        **ids,
    )
    config.text_config.initializer_range = 0.5
    config.vision_config.initializer_range = 0.5
    model = transformers.Idefics3ForConditionalGeneration(config)
    pictures = transformers.Idefics3ImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 64}, do_image_splitting=False
    )
    processor = transformers.Idefics3Processor(
        pictures, tokenizer, image_seq_len=4, chat_template=CHAT
    )
    return _saved(folder, model, processor)


def _prepare() -> None:
    torch = import_models("torch")
    torch.manual_seed(7)
    torch.set_num_threads(1)  # models this small cannot use two


def _saved(folder: Path, model: object, processor: object) -> Path:
    model.save_pretrained(folder)  # type: ignore[attr-defined]
    processor.save_pretrained(folder)  # type: ignore[attr-defined]
    return folder
