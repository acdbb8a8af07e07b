"""TransformerLens' weight processing on the golden models: activations and logits of processed weights.

Needs transformer_lens 2.18 with its transformers 4; writes goldens/lab/NAME/processed.safetensors.
"""
import json
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from safetensors.torch import load_file, save_file
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import (
    convert_gpt2_weights,
    convert_llama_weights,
    convert_neox_weights,
)
from transformers import AutoConfig, AutoModelForCausalLM

HERE = os.path.join(os.path.dirname(__file__), "..")


def common(c, **more):
    return HookedTransformerConfig(
        n_layers=c.num_hidden_layers,
        d_model=c.hidden_size,
        n_ctx=c.max_position_embeddings,
        n_heads=c.num_attention_heads,
        d_head=getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads,
        d_vocab=c.vocab_size,
        device="cpu",
        **more,
    )


def load(name):
    folder = os.path.join(HERE, "families", name)
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        raw = json.load(file)
    rope = raw.pop("rope_parameters", None)
    if rope and name == "llama":
        raw["rope_theta"] = rope["rope_theta"]
    if rope and name == "gpt_neox":
        raw["rotary_pct"], raw["rotary_emb_base"] = rope["partial_rotary_factor"], rope["rope_theta"]
    c = AutoConfig.for_model(**raw)
    source = AutoModelForCausalLM.from_config(c)
    state = load_file(os.path.join(folder, "model.safetensors"))
    missing, unexpected = source.load_state_dict(state, strict=False)
    assert not unexpected and all("lm_head" in m or "bias" in m for m in missing), (missing, unexpected)
    source.tie_weights()
    return c, source.eval()


def build(name):
    c, source = load(name)
    if name == "gpt2":
        cfg = common(
            c, d_mlp=4 * c.n_embd, act_fn="gelu_new", eps=c.layer_norm_epsilon, normalization_type="LN",
            original_architecture="GPT2LMHeadModel",
        )
        return cfg, convert_gpt2_weights(source, cfg)
    if name == "gpt_neox":
        cfg = common(
            c, d_mlp=c.intermediate_size, act_fn=c.hidden_act, eps=c.layer_norm_eps, normalization_type="LN",
            positional_embedding_type="rotary", rotary_adjacent_pairs=False, parallel_attn_mlp=c.use_parallel_residual,
            rotary_dim=int(c.rotary_pct * (c.hidden_size // c.num_attention_heads)), rotary_base=c.rotary_emb_base,
            original_architecture="GPTNeoXForCausalLM",
        )
        return cfg, convert_neox_weights(source, cfg)
    d_head = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    cfg = common(
        c, d_mlp=c.intermediate_size, act_fn="silu", eps=c.rms_norm_eps, normalization_type="RMS",
        positional_embedding_type="rotary", rotary_adjacent_pairs=False, rotary_dim=d_head, gated_mlp=True,
        final_rms=True, n_key_value_heads=c.num_key_value_heads, rotary_base=c.rope_theta,
        original_architecture="LlamaForCausalLM",
    )
    return cfg, convert_llama_weights(source, cfg)


for name in ("gpt2", "gpt_neox", "llama"):
    cfg, state = build(name)
    ids = load_file(os.path.join(HERE, "lab", name, "transformer-lens.safetensors"))["clean"].long()
    plain = HookedTransformer(cfg)
    plain.load_and_process_state_dict(
        dict(state), fold_ln=False, center_writing_weights=False, center_unembed=False, fold_value_biases=False
    )
    model = HookedTransformer(cfg)
    model.load_and_process_state_dict(
        dict(state), fold_ln=True, center_writing_weights=name != "llama", center_unembed=True, fold_value_biases=True
    )
    with torch.no_grad():
        before = plain(ids).log_softmax(-1)
        logits, cache = model.run_with_cache(ids)
    apart = (before - logits.log_softmax(-1)).abs().max().item()
    print(name, "log-probabilities apart", apart)
    assert apart < 1e-4
    kept = ["hook_embed"] + [
        f"blocks.{layer}.{hook}"
        for layer in range(cfg.n_layers)
        for hook in ("hook_resid_pre", "ln1.hook_normalized", "attn.hook_q", "attn.hook_v", "hook_attn_out", "hook_mlp_out")
    ]
    out = {hook: cache[hook].clone() for hook in kept + ["ln_final.hook_normalized"]}
    save_file({"logits": logits.clone(), **out}, os.path.join(HERE, "lab", name, "processed.safetensors"))
