"""Picture models and vision-language models."""

import pictures
from groups.dense import COMMON
from models import Case

QV = ["q_proj", "v_proj"]
# Sixteen patches of eight by eight pixels.
VIT = {
    "hidden_size": 36,
    "intermediate_size": 52,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "image_size": 32,
    "patch_size": 8,
    "num_channels": 3,
}
TOKEN = 90
TEXT = {key: value for key, value in COMMON.items() if key != "max_position_embeddings"}
CONTRAST_TEXT = {
    "vocab_size": 96,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def counts(length):
    return [{"sequences": number, "seq_len": length, "images": 1} for number in (2, 1, 3)]


def texts(tokens, **more):
    """One picture, two sequences, two pictures: lengths that tell the coefficients apart."""
    return [
        {"sequences": 1, "seq_len": tokens + 7, "images": 1, "image_tokens": tokens, **more},
        {"sequences": 2, "seq_len": tokens + 3, "images": 1, "image_tokens": tokens, **more},
        {"sequences": 1, "seq_len": 2 * tokens + 5, "images": 2, "image_tokens": 2 * tokens, **more},
    ]


def vision(kind, targets, name=None, model="AutoModelForImageClassification", inputs=pictures.image, length=17, **entries):
    config = {"model_type": kind, **VIT, **entries}
    return Case(name or kind, config, model, inputs, counts(length), targets, blocks=BLOCKS.get(kind, ""))


def contrast(kind, name, text_entries=None, **entries):
    parts = {"text_config": {**CONTRAST_TEXT, **(text_entries or {})}, "vision_config": VIT}
    sizes = [{"sequences": number, "seq_len": length, "images": 1} for number, length in ((2, 9), (1, 16), (3, 5))]
    frozen = [["vision_model"], ["text_model"]]
    return Case(name, {"model_type": kind, **parts, **entries}, "AutoModel", pictures.contrast, sizes, QV, blocks="-", frozen=frozen)


def talks(kind, inputs, sizes, text, tower, name=None, projector="model.multi_modal_projector", parts=("model.vision_tower", "model.language_model"), head="lm_head", targets=QV, **entries):
    """A tower, a projector and a text model."""
    config = {"model_type": kind, "text_config": {**TEXT, **text}, "vision_config": {**VIT, **tower}, **entries}
    frozen = [[parts[0]], [*parts, head]] if projector else [[parts[0]]]
    frozen.append([parts[1], *([projector] if projector else []), head])
    return Case(name or kind, config, "AutoModelForImageTextToText", inputs, sizes, targets, frozen=frozen)


BLOCKS = {"clip_vision_model": "encoder.layers", "siglip_vision_model": "encoder.layers"}
pooled = {"loss": lambda output: output.pooler_output.sum()}
LLAMA, QWEN2, MISTRAL = {"model_type": "llama"}, {"model_type": "qwen2"}, {"model_type": "mistral"}
CLIP, SIGLIP = {"model_type": "clip_vision_model", "projection_dim": 24}, {"model_type": "siglip_vision_model"}
WINDOWS = {"head_dim": 12, "sliding_window": 6}
GRID = {"image_grid": [1, 4, 6]}
QWEN_PARTS = {"projector": "", "parts": ("model.visual", "model.language_model")}
QWEN_TOWER = {"depth": 3, "num_heads": 3, "in_channels": 3, "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2}
IDS = {"image_token_id": TOKEN, "video_token_id": 91, "vision_start_token_id": 92, "vision_end_token_id": 93}
ROPE = {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 2, 2], "rope_theta": 10000.0}}
ROPE3 = {"rope_parameters": {**ROPE["rope_parameters"], "mrope_interleaved": True}, "head_dim": 12}
MLLAMA_TOWER = {
    "model_type": "mllama_vision_model",
    "attention_heads": 3,
    "num_global_layers": 2,
    "vision_output_dim": 108,
    "intermediate_layers_indices": [0, 2],
    "max_num_tiles": 2,
    "supported_aspect_ratios": [[1, 1], [1, 2]],
}
SWIN = {"model_type": "swin", "image_size": 32, "patch_size": 4, "embed_dim": 12, "depths": [2, 2], "num_heads": [2, 4], "window_size": 2}
CASES = [
    vision("vit", QV),
    vision("vit", QV, "vit-dropout-no-bias", hidden_dropout_prob=0.1, qkv_bias=False, num_labels=5),
    vision("deit", QV, None, "DeiTForImageClassification", length=18),
    vision("beit", QV, use_relative_position_bias=True, drop_path_rate=0.0),
    vision("beit", QV, "beit-drop-path", use_absolute_position_embeddings=True, use_mean_pooling=False),
    vision("dinov2", QV, mlp_ratio=2),
    vision("dinov2", QV, "dinov2-swiglu", mlp_ratio=2, use_swiglu_ffn=True),
    vision("dinov2_with_registers", QV, mlp_ratio=2, num_register_tokens=3, length=20),
    vision("dinov3_vit", QV, "dinov3_vit", "AutoModel", pictures.alone, 21, num_register_tokens=4),
    Case("swin", SWIN, "AutoModelForImageClassification", pictures.image, counts(64), QV, blocks="-"),
    Case("swin-filled-windows", {**SWIN, "image_size": 44, "window_size": 3, "depths": [1, 3, 2], "num_heads": [2, 4, 4], "use_absolute_embeddings": True, "qkv_bias": False, "hidden_dropout_prob": 0.1, "mlp_ratio": 2.5}, "AutoModelForImageClassification", pictures.image, counts(121), QV, blocks="-"),
    vision("clip_vision_model", QV, None, "CLIPVisionModel", pictures.alone),
    vision("siglip_vision_model", QV, None, "SiglipVisionModel", pictures.alone, 16),
    vision("siglip_vision_model", QV, "siglip_vision_model-no-head", "SiglipVisionModel", pictures.alone, 16, vision_use_head=False),
    contrast("clip", "clip", projection_dim=24),
    contrast("siglip", "siglip", text_entries={"projection_size": 36}),
    talks("llava", pictures.llava, texts(16), LLAMA, CLIP, image_token_index=TOKEN),
    talks("llava", pictures.llava, texts(17), LLAMA, CLIP, "llava-full-two-layers", image_token_index=TOKEN, vision_feature_layer=[-2, -1], vision_feature_select_strategy="full", multimodal_projector_bias=False),
    talks("llava", pictures.llava, texts(16), QWEN2, SIGLIP, "llava-siglip-qwen2", image_token_index=TOKEN, vision_feature_layer=-1, vision_feature_select_strategy="full"),
    talks("llava", pictures.sized, texts(24, image_grid=[1, 4, 6]), MISTRAL, {"model_type": "pixtral", "image_size": 64}, "llava-pixtral", image_token_index=TOKEN, vision_feature_layer=-1, vision_feature_select_strategy="full"),
    talks("mistral3", pictures.sized, texts(6, **GRID), MISTRAL, {"model_type": "pixtral", "image_size": 64}, image_token_index=TOKEN),
    talks("llava_next", pictures.tiled, [{**size, "tiles": 5} for size in texts(88)[:2]], LLAMA, CLIP, image_token_index=TOKEN, image_grid_pinpoints=[[32, 64], [64, 32], [64, 64]]),
    talks("paligemma", pictures.typed, texts(16), {"model_type": "gemma", "head_dim": 12}, {**SIGLIP, "projection_dim": 48, "vision_use_head": False}, image_token_index=TOKEN, projection_dim=48, hidden_size=48, vocab_size=96),
    talks("gemma4", pictures.patched, texts(6, image_grid=[1, 6, 9]), {"model_type": "gemma4_text", **WINDOWS, "global_head_dim": 16, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 80, "num_kv_shared_layers": 1, "layer_types": ["sliding_attention", "full_attention", "full_attention"]}, {"model_type": "gemma4_vision", "num_key_value_heads": 3, "head_dim": 12, "position_embedding_size": 16}, projector="model.embed_vision", image_token_id=TOKEN, audio_config=None, use_cache=False),
    talks("gemma3", pictures.typed, texts(4), {"model_type": "gemma3_text", **WINDOWS}, {**SIGLIP, "vision_use_head": False}, image_token_index=TOKEN, mm_tokens_per_image=4),
    talks("qwen2_vl", pictures.gridded, texts(6, **GRID), {"model_type": "qwen2_vl_text", **ROPE}, {**QWEN_TOWER, "embed_dim": 36, "hidden_size": 48, "mlp_ratio": 2}, **QWEN_PARTS, **IDS, targets=["q_proj", "v_proj", "qkv"]),
    talks("qwen2_5_vl", pictures.gridded, texts(6, **GRID), {"model_type": "qwen2_5_vl_text", **ROPE}, {**QWEN_TOWER, "out_hidden_size": 48, "window_size": 16, "fullatt_block_indexes": [1]}, **QWEN_PARTS, **IDS),
    talks("qwen3_vl", pictures.gridded, texts(6, **GRID), {"model_type": "qwen3_vl_text", **ROPE3}, {**QWEN_TOWER, "out_hidden_size": 48, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}, **QWEN_PARTS, **IDS),
    talks("qwen3_vl_moe", pictures.gridded, texts(6, **GRID), {"model_type": "qwen3_vl_moe_text", **ROPE3, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 20}, {**QWEN_TOWER, "out_hidden_size": 48, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}, **QWEN_PARTS, **IDS),
    talks("qwen3_5", pictures.gridded, texts(6, **GRID), {"model_type": "qwen3_5_text", **ROPE3, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 6, "linear_value_head_dim": 10, "num_hidden_layers": 4}, {**QWEN_TOWER, "out_hidden_size": 48, "num_position_embeddings": 64}, **QWEN_PARTS, **IDS),
    talks("idefics3", pictures.idefics, texts(4), LLAMA, {"model_type": "idefics3_vision"}, image_token_id=TOKEN, projector="model.connector", parts=("model.vision_model", "model.text_model")),
    talks("smolvlm", pictures.idefics, texts(4), LLAMA, {"model_type": "smolvlm_vision"}, image_token_id=TOKEN, projector="model.connector", parts=("model.vision_model", "model.text_model")),
    talks("internvl", pictures.internvl, texts(4), QWEN2, {"model_type": "internvl_vision", "image_size": [32, 32], "patch_size": [8, 8]}, image_token_id=TOKEN),
    talks("aya_vision", pictures.internvl, texts(4), {"model_type": "cohere2", "head_dim": 12, "sliding_window": 6}, {**SIGLIP, "vision_use_head": False}, image_token_index=TOKEN, downsample_factor=2, adapter_layer_norm_eps=1e-6),
    talks("llama4", pictures.llava, texts(4), {"model_type": "llama4_text", "num_local_experts": 4, "intermediate_size_mlp": 60, "head_dim": 12}, {"model_type": "llama4_vision_model", "projector_input_dim": 40, "projector_output_dim": 40, "vision_output_dim": 40, "intermediate_size": 144}, image_token_index=TOKEN, parts=("vision_model", "language_model.model"), projector="multi_modal_projector", head="language_model.lm_head"),
    talks("mllama", pictures.mllama, [{"sequences": 1, "seq_len": 9, "images": 1, "image_tokens": 1}, {"sequences": 2, "seq_len": 5, "images": 1, "image_tokens": 1}, {"sequences": 1, "seq_len": 12, "images": 2, "image_tokens": 2}], {"model_type": "mllama_text_model", "cross_attention_layers": [1], "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}, MLLAMA_TOWER, image_token_index=96, parts=("model.vision_model", "model.language_model")),
]
for case in CASES:
    if case.model in ("CLIPVisionModel", "SiglipVisionModel", "AutoModel") and case.inputs is pictures.alone:
        case.loss = (lambda output: output.last_hidden_state.sum()) if "no-head" in case.name else pooled["loss"]
