"""TransformerLens' side of bench/inside.ts: the same weights, the same tokens, its own way to hook."""
import os
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformer_lens
from side import answer
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
from transformers import GPT2LMHeadModel

state = {}


def open_model(request):
    opening = request["opening"]
    torch.set_num_threads(opening["threads"])
    source = GPT2LMHeadModel.from_pretrained(opening["path"])
    c = source.config
    cfg = HookedTransformerConfig(
        n_layers=c.n_layer,
        d_model=c.n_embd,
        n_ctx=c.n_positions,
        d_head=c.n_embd // c.n_head,
        n_heads=c.n_head,
        d_mlp=4 * c.n_embd,
        d_vocab=c.vocab_size,
        act_fn="gelu_new",
        eps=c.layer_norm_epsilon,
        normalization_type="LN",
        original_architecture="GPT2LMHeadModel",
        device="cpu",
    )
    model = HookedTransformer(cfg)
    model.load_and_process_state_dict(
        convert_gpt2_weights(source, cfg),
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
    )
    model.eval()
    model.requires_grad_(False)
    state["model"] = model


def about(_):
    return {
        "version": transformer_lens.__version__ if hasattr(transformer_lens, "__version__") else "2.18.0",
        "torch": torch.__version__,
        "settings": {"threads": torch.get_num_threads(), "mkldnn": torch.backends.mkldnn.is_available()},
    }


def tokens_of(request):
    return torch.tensor(request["ids"])


def timed(work):
    start = time.perf_counter()
    value = work()
    return {"ms": (time.perf_counter() - start) * 1000, "value": value}


def forward(request):
    with torch.no_grad():
        ids = tokens_of(request)
        return timed(lambda: state["model"](ids)[:, -1].double().abs().mean().item())


def captures(request):
    with torch.no_grad():
        ids = tokens_of(request)

        def work():
            _, cache = state["model"].run_with_cache(ids)
            return len(cache)

        return timed(work)


def ablate(request):
    """The mean magnitude of the last logits after each head's z was zeroed, one head a run."""
    model, ids = state["model"], tokens_of(request)

    def run(layer, head):
        def zero(z, hook):
            z[:, :, head] = 0
            return z

        logits = model.run_with_hooks(ids, fwd_hooks=[(f"blocks.{layer}.attn.hook_z", zero)])
        return logits[:, -1].double().abs().mean().item()

    with torch.no_grad():
        return timed(lambda: [run(layer, head) for layer, head in request["heads"]])


def attribute(request):
    """Gradient x value of every head's z, of the difference of two logits at the last position, summed: [layers x heads]."""
    model, ids = state["model"], tokens_of(request)
    kept = {}

    def keep(z, hook):
        z.requires_grad_() if not z.requires_grad else z.retain_grad()
        kept[hook.name] = z
        return z

    def work():
        logits = model.run_with_hooks(ids, fwd_hooks=[(lambda name: name.endswith("hook_z"), keep)])[:, -1]
        (logits[:, request["a"]] - logits[:, request["b"]]).sum().backward()
        return [(z.grad * z).sum((0, 1, 3)).double().tolist() for z in kept.values()]

    return timed(work)


answer(
    {
        "open": open_model,
        "about": about,
        "forward": forward,
        "captures": captures,
        "ablate": ablate,
        "attribute": attribute,
    }
)
