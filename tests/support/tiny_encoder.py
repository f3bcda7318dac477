"""A CamemBERT of two layers with random weights: enough for tests, built in a second."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

# Settings with which it learns thirty sentences, in a second.
TRAINING: dict[str, Any] = {
    "epochs": 30,
    "batch_size": 8,
    "learning_rate": 2e-3,
    "freeze_embeddings": False,
    "freeze_layers": 0,
    "augmentation": 0,
    "patience": None,
    "threads": 1,
}


def build_tiny_encoder(folder: Path, texts: list[str], seed: int = 0) -> Path:
    """Write an encoder into ``folder`` whose vocabulary is the words and letters of ``texts``."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import CamembertConfig, CamembertModel

    # Counted rather than trained: UnigramTrainer's vocabulary differs from run to run.
    words = Counter(f"▁{word}" for text in texts for word in text.split())
    letters = sorted({letter for word in words for letter in word})
    common = sorted(words, key=lambda word: (-words[word], word))[: 396 - len(letters)]
    pieces = [(special, 0.0) for special in ("<s>", "<pad>", "</s>", "<unk>")]
    pieces += [(word, math.log(words[word] / words.total())) for word in common]
    pieces += [(letter, -12.0) for letter in letters if letter not in common]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    CamembertModel(
        CamembertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=128,
            max_position_embeddings=130,
            type_vocab_size=1,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
        )
    ).save_pretrained(folder)
    return folder
