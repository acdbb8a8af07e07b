"""torch and peft's side of bench/inside.ts: a training step of a LoRA adapter over the same weights and tokens."""
import os
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import peft
import torch
import torch.nn.functional as F
import transformers
from peft import LoraConfig, get_peft_model
from side import answer, peak_bytes
from transformers import GPT2LMHeadModel

state = {}


def open_model(request):
    opening = request["opening"]
    torch.set_num_threads(opening["threads"])
    torch.manual_seed(0)
    model = GPT2LMHeadModel.from_pretrained(opening["path"], attn_implementation=opening["attention"])
    for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
        setattr(model.config, name, 0)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0
    model.config.use_cache = False
    config = LoraConfig(r=8, lora_alpha=16, target_modules=["c_attn"], fan_in_fan_out=True, lora_dropout=0)
    state["model"] = get_peft_model(model, config)
    state["model"].train()
    parameters = [p for p in state["model"].parameters() if p.requires_grad]
    state["optimizer"] = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.01)


def about(_):
    return {
        "version": peft.__version__,
        "torch": torch.__version__,
        "settings": {"threads": torch.get_num_threads(), "transformers": transformers.__version__},
    }


def step(request):
    ids = torch.tensor(request["ids"])
    start = time.perf_counter()
    logits = state["model"](ids[:, :-1]).logits
    loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1))
    state["optimizer"].zero_grad()
    loss.backward()
    state["optimizer"].step()
    value = loss.item()
    return {"ms": (time.perf_counter() - start) * 1000, "value": value, "peakBytes": peak_bytes()}


answer({"open": open_model, "about": about, "step": step})
