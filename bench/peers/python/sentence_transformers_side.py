"""sentence-transformers' side of bench/many.ts: the same texts as vectors."""
import os
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import sentence_transformers
import torch
from sentence_transformers import SentenceTransformer
from side import answer

state = {}


def open_model(request):
    opening = request["opening"]
    torch.set_num_threads(opening["threads"])
    state["model"] = SentenceTransformer(opening["path"], device="cpu").eval()


def about(_):
    return {"version": sentence_transformers.__version__, "torch": torch.__version__}


def embed(request):
    texts = request["texts"]
    start = time.perf_counter()
    if request["isBatch"]:
        vector = state["model"].encode(texts, show_progress_bar=False)[0]
    else:
        vector = [state["model"].encode(text, show_progress_bar=False) for text in texts][0]
    return {"rate": len(texts) / (time.perf_counter() - start), "vector": vector.tolist()}


answer({"open": open_model, "about": about, "embed": embed})
