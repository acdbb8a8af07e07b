"""Scores of tiny random rerankers and classifiers by transformers: BERT, RoBERTa, XLM-RoBERTa and DistilBERT for sequence classification.

Needs transformers 5, torch and safetensors; writes goldens/classifiers/NAME: config.json, model.safetensors and expected.safetensors
(ids, mask, types and logits of a padded batch of pairs).
"""
import os

import torch
from safetensors.torch import save_file
from transformers import (
    BertConfig, BertForSequenceClassification, DistilBertConfig, DistilBertForSequenceClassification,
    RobertaConfig, RobertaForSequenceClassification, XLMRobertaConfig, XLMRobertaForSequenceClassification,
)

HERE = os.path.join(os.path.dirname(__file__), "..", "classifiers")
SIZES = dict(vocab_size=120, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=40)
MODELS = {
    "bert": (BertForSequenceClassification, BertConfig(**SIZES, type_vocab_size=2, num_labels=1)),
    "roberta": (RobertaForSequenceClassification, RobertaConfig(**SIZES, type_vocab_size=1, num_labels=1, pad_token_id=1)),
    "xlm_roberta": (XLMRobertaForSequenceClassification, XLMRobertaConfig(**SIZES, type_vocab_size=1, num_labels=3, pad_token_id=1)),
    "distilbert": (DistilBertForSequenceClassification, DistilBertConfig(
        vocab_size=120, dim=32, hidden_dim=48, n_layers=2, n_heads=4, max_position_embeddings=40, num_labels=2)),
}

for name, (kind, config) in MODELS.items():
    torch.manual_seed(7)
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2)
    folder = os.path.join(HERE, name)
    model.save_pretrained(folder)
    lengths = [11, 7, 9]
    ids = torch.randint(5, 120, (3, 11), generator=torch.Generator().manual_seed(3))
    mask = torch.tensor([[1] * n + [0] * (11 - n) for n in lengths])
    ids = torch.where(mask == 1, ids, torch.tensor(1))
    types = torch.tensor([[int(4 <= i < n) for i in range(11)] for n in lengths])
    extra = {"token_type_ids": types} if name == "bert" else {}
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask, **extra).logits
    save_file({"ids": ids, "mask": mask, "types": types, "logits": logits.float()}, os.path.join(folder, "expected.safetensors"))
