"""The peer without Rasa: a ``transformers`` text-classification pipeline on PyTorch."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.camembert.encoder import Encoder, configured_encoder
from components.remote import Ranking

_WARM_UP, _BATCH = 0.1, 64


def fit(
    settings: Mapping[str, Any],
    texts: Sequence[str],
    intents: Sequence[str],
    seed: int,
    folder: Path,
) -> Encoder:
    """Fine-tune every weight with AdamW, as the library's own text-classification example does.

    Args:
        settings: See ``comparison.settings.Transformers``.
        texts: Training sentences.
        intents: The intent of each.
        seed: Of the head and of the order of the sentences.
        folder: Where to save the model.

    Returns:
        The encoder that was used.

    Raises:
        ConfigError: The encoder is nowhere to be had.
    """
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        PreTrainedTokenizerFast,
        get_linear_schedule_with_warmup,
    )

    encoder = configured_encoder(settings)
    labels = sorted(set(intents))
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForSequenceClassification.from_pretrained(
        encoder.path,
        # A file in half precision would otherwise be trained in it.
        dtype=torch.float32,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
    ).to(device)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(encoder.path / "tokenizer.json"),
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=settings["max_length"],
    )
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(model.config.pad_token_id)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings["learning_rate"])
    order, generator = list(range(len(texts))), random.Random(seed)
    size = settings["batch_size"]
    steps = settings["epochs"] * -(-len(order) // size)
    schedule = get_linear_schedule_with_warmup(optimiser, int(_WARM_UP * steps), steps)
    model.train()
    for _ in range(settings["epochs"]):
        generator.shuffle(order)
        for begin in range(0, len(order), size):
            rows = order[begin : begin + size]
            batch = tokenizer(
                [texts[row] for row in rows], padding=True, truncation=True, return_tensors="pt"
            )
            targets = torch.tensor([labels.index(intents[row]) for row in rows])
            loss = model(**batch.to(device), labels=targets.to(device)).loss
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return encoder


class TorchPipeline:
    """A trained pipeline, ready to answer on the processor.

    Args:
        folder: What :func:`fit` has written.
        threads: Threads of PyTorch.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        import torch
        from transformers import pipeline

        torch.set_num_threads(threads)
        self._pipeline: Any = pipeline(
            "text-classification", model=str(folder), top_k=None, device="cpu"
        )

    def rank(self, texts: Sequence[str]) -> list[Ranking]:
        """Return the intents of each text with their confidence, best first."""
        answers = self._pipeline(list(texts), truncation=True, batch_size=_BATCH)
        return [[(one["label"], float(one["score"])) for one in answer] for answer in answers]
