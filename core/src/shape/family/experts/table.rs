//! What sets each family of decoders with experts apart: facts alone.
//!
//! Sources: `configuration_<family>.py` for keys and defaults, `modeling_<family>.py` for names, biases and order, of
//! `transformers` 5.23.

use super::super::super::mask::Windows;
use super::super::super::parts::Router;
use super::super::super::program::ExpertTargets;
use super::super::sizes::{Heads, Key};
use super::facts::{Attends, Family, HeadNorm, LatentSizes, Norms, SharedExpert, Sparse};

/// Every `model_type` that [`family`] knows, and two that are read apart.
pub(in crate::shape::family) const MODEL_TYPES: [&str; 27] = [
    "mixtral",
    "qwen2_moe",
    "qwen3_moe",
    "deepseek_v2",
    "deepseek_v3",
    "deepseek_v32",
    "glm_moe_dsa",
    "glm4_moe",
    "glm4_moe_lite",
    "mistral4",
    "dots1",
    "solar_open",
    "ernie4_5_moe",
    "hunyuan_v1_moe",
    "minimax_m2",
    "gpt_oss",
    "granitemoe",
    "granitemoeshared",
    "olmoe",
    "flex_olmo",
    "phimoe",
    "llama4_text",
    "mellum",
    "exaone_moe",
    "hy_v3",
    "dbrx",
    "jetmoe",
];

const GATE: Router = Router::parameter("mlp.gate");
const EACH: HeadNorm = HeadNorm::Each { query: "self_attn.q_norm", key: "self_attn.k_norm" };
const BIASED: Attends = Attends::Biased { key: "attention_bias", default: false, output: true };

const DEEPSEEK: LatentSizes =
    LatentSizes { query_rank: 1536, key_value_rank: 512, plain: 128, rotary: 64, value: 128, index_heads: None };

const MIXTRAL: Family = Family {
    heads: Heads { key_value: Some(8), size: None },
    attends: Attends::Plain,
    windows: Windows::All(None),
    norms: Norms::Before,
    head_norms: HeadNorm::None,
    count: Key::new(&["num_local_experts", "num_experts"], 8),
    chosen: Key::new(&["num_experts_per_tok"], 2),
    inner: Key::new(&["intermediate_size"], 14336),
    router: GATE,
    stack: "mlp.experts",
    shared: SharedExpert::None,
    sparse: Sparse::All,
    feed_forward_bias: None,
    head_bias: None,
    tied_head: false,
    targets: Some(ExpertTargets::Mixtral),
};

const QWEN3: Family = Family {
    heads: Heads { key_value: Some(4), size: None },
    attends: BIASED,
    windows: Windows::Upper,
    head_norms: EACH,
    count: Key::new(&["num_local_experts", "num_experts"], 128),
    chosen: Key::new(&["num_experts_per_tok"], 8),
    inner: Key::new(&["moe_intermediate_size"], 768),
    sparse: Sparse::Step,
    targets: Some(ExpertTargets::Qwen2Moe),
    ..MIXTRAL
};

const DEEPSEEK_V3: Family = Family {
    heads: Heads { key_value: None, size: None },
    attends: Attends::Latent(DEEPSEEK),
    windows: Windows::Never,
    head_norms: HeadNorm::None,
    count: Key::new(&["n_routed_experts", "num_local_experts"], 256),
    inner: Key::new(&["moe_intermediate_size"], 2048),
    shared: several(Key::new(&["n_shared_experts"], 1)),
    sparse: Sparse::From(3),
    ..QWEN3
};

const GLM4: Family = Family {
    heads: Heads { key_value: Some(8), size: None },
    attends: Attends::Biased { key: "attention_bias", default: false, output: false },
    head_norms: HeadNorm::EachIf,
    count: Key::new(&["n_routed_experts", "num_local_experts"], 128),
    inner: Key::new(&["moe_intermediate_size"], 1408),
    sparse: Sparse::From(1),
    ..DEEPSEEK_V3
};

const GRANITE: Family = Family {
    heads: Heads { key_value: None, size: None },
    attends: BIASED,
    windows: Windows::Never,
    router: Router { name: "block_sparse_moe.router", ..GATE },
    stack: "block_sparse_moe.experts",
    inner: Key::new(&["intermediate_size"], 11008),
    targets: None,
    ..MIXTRAL
};

const OLMOE: Family = Family {
    stack: "mlp.experts",
    router: GATE,
    head_norms: HeadNorm::Whole,
    count: Key::new(&["num_experts", "num_local_experts"], 64),
    chosen: Key::new(&["num_experts_per_tok"], 8),
    inner: Key::new(&["intermediate_size"], 2048),
    targets: Some(ExpertTargets::Qwen2Moe),
    ..GRANITE
};

const fn several(times: Key) -> SharedExpert {
    SharedExpert::Several { times, first: false }
}

pub(super) fn family(model_type: &str) -> Family {
    match model_type {
        "qwen3_moe" => QWEN3,
        "qwen2_moe" => qwen2(),
        "deepseek_v3" => DEEPSEEK_V3,
        "deepseek_v2" | "deepseek_v32" | "glm_moe_dsa" | "glm4_moe_lite" | "mistral4" => latent(model_type),
        "glm4_moe" => GLM4,
        "dots1" => dots1(),
        "solar_open" => solar_open(),
        "ernie4_5_moe" => ernie(),
        "hunyuan_v1_moe" => hunyuan(),
        "minimax_m2" => minimax_m2(),
        "gpt_oss" => gpt_oss(),
        "granitemoe" => GRANITE,
        "granitemoeshared" => Family { shared: SharedExpert::Fused, ..GRANITE },
        "olmoe" => OLMOE,
        "flex_olmo" => flex_olmo(),
        "phimoe" => phimoe(),
        "llama4_text" => llama4(),
        "mellum" => mellum(),
        "exaone_moe" => exaone(),
        "hy_v3" => hunyuan_v3(),
        _ => MIXTRAL,
    }
}

const fn qwen2() -> Family {
    Family {
        heads: Heads { key_value: Some(16), size: None },
        attends: Attends::Biased { key: "qkv_bias", default: true, output: false },
        head_norms: HeadNorm::None,
        count: Key::new(&["num_experts"], 60),
        chosen: Key::new(&["num_experts_per_tok"], 4),
        inner: Key::new(&["moe_intermediate_size"], 1408),
        shared: SharedExpert::Gated,
        targets: None,
        ..QWEN3
    }
}

/// Relatives of DeepSeek-V3 that compress keys and values.
fn latent(model_type: &str) -> Family {
    match model_type {
        "deepseek_v2" => Family {
            count: Key::new(&["n_routed_experts", "num_experts"], 64),
            inner: Key::new(&["moe_intermediate_size"], 1407),
            shared: several(Key::new(&["n_shared_experts"], 2)),
            sparse: Sparse::From(0),
            feed_forward_bias: Some("mlp_bias"),
            ..DEEPSEEK_V3
        },
        "deepseek_v32" => Family {
            attends: Attends::Latent(LatentSizes { index_heads: Some(64), ..DEEPSEEK }),
            sparse: Sparse::Typed(3),
            ..DEEPSEEK_V3
        },
        "glm_moe_dsa" => Family {
            attends: Attends::Latent(LatentSizes {
                query_rank: 2048,
                plain: 192,
                value: 256,
                index_heads: Some(32),
                ..DEEPSEEK
            }),
            sparse: Sparse::Typed(3),
            ..DEEPSEEK_V3
        },
        "glm4_moe_lite" => Family {
            attends: Attends::Latent(LatentSizes { query_rank: 768, plain: 192, value: 256, ..DEEPSEEK }),
            count: Key::new(&["n_routed_experts", "num_local_experts"], 64),
            chosen: Key::new(&["num_experts_per_tok"], 4),
            inner: Key::new(&["moe_intermediate_size"], 1536),
            sparse: Sparse::Typed(1),
            ..DEEPSEEK_V3
        },
        _ => Family {
            attends: Attends::Latent(LatentSizes { query_rank: 1024, key_value_rank: 256, plain: 64, ..DEEPSEEK }),
            count: Key::new(&["n_routed_experts", "num_local_experts"], 128),
            chosen: Key::new(&["num_experts_per_tok"], 4),
            sparse: Sparse::From(0),
            targets: None,
            ..DEEPSEEK_V3
        },
    }
}

const fn dots1() -> Family {
    Family {
        heads: Heads { key_value: Some(32), size: None },
        attends: BIASED,
        windows: Windows::FromLayer { window: 4096, first: 62 },
        head_norms: EACH,
        count: Key::required(&["n_routed_experts", "num_local_experts"]),
        chosen: Key::required(&["num_experts_per_tok"]),
        shared: several(Key::required(&["n_shared_experts"])),
        sparse: Sparse::From(0),
        ..GLM4
    }
}

const fn solar_open() -> Family {
    Family {
        heads: Heads { key_value: Some(8), size: Some(128) },
        head_norms: HeadNorm::None,
        inner: Key::new(&["moe_intermediate_size"], 1280),
        sparse: Sparse::All,
        ..GLM4
    }
}

const fn ernie() -> Family {
    Family {
        heads: Heads { key_value: Some(4), size: None },
        attends: Attends::Biased { key: "use_bias", default: false, output: true },
        windows: Windows::Never,
        head_norms: HeadNorm::None,
        count: Key::new(&["moe_num_experts", "num_experts"], 64),
        chosen: Key::new(&["moe_k", "num_experts_per_tok"], 6),
        inner: Key::new(&["moe_intermediate_size"], 1536),
        router: Router { correction: Some("mlp.gate.moe_statics.e_score_correction_bias"), ..GATE },
        shared: SharedExpert::Several { times: Key::new(&["moe_num_shared_experts"], 2), first: true },
        sparse: Sparse::Range,
        feed_forward_bias: Some("use_bias"),
        head_bias: Some("use_bias"),
        tied_head: true,
        ..QWEN3
    }
}

const fn hunyuan() -> Family {
    Family {
        heads: Heads { key_value: None, size: None },
        windows: Windows::Never,
        head_norms: HeadNorm::Each { query: "self_attn.query_layernorm", key: "self_attn.key_layernorm" },
        count: Key::new(&["num_experts", "num_local_experts"], 1),
        chosen: Key::new(&["moe_topk", "num_experts_per_tok"], 1),
        inner: Key::new(&["intermediate_size"], 11008),
        router: Router { name: "mlp.gate.wg", is_linear: true, ..GATE },
        shared: SharedExpert::Same { name: "mlp.shared_mlp", first: true },
        sparse: Sparse::All,
        ..QWEN3
    }
}

const fn minimax_m2() -> Family {
    Family {
        heads: Heads { key_value: Some(8), size: Some(128) },
        windows: Windows::Never,
        head_norms: HeadNorm::Whole,
        count: Key::new(&["num_local_experts", "num_experts"], 256),
        chosen: Key::new(&["num_experts_per_tok"], 8),
        inner: Key::new(&["intermediate_size"], 1536),
        ..MIXTRAL
    }
}

const fn gpt_oss() -> Family {
    Family {
        heads: Heads { key_value: Some(8), size: Some(64) },
        attends: Attends::WithSinks,
        windows: Windows::Repeating { every: 2, first: false, adjustable: false, window: 128 },
        count: Key::new(&["num_local_experts", "num_experts"], 128),
        chosen: Key::new(&["num_experts_per_tok"], 4),
        inner: Key::new(&["intermediate_size"], 2880),
        router: Router { name: "mlp.router", bias: true, ..GATE },
        targets: None,
        ..MIXTRAL
    }
}

const fn flex_olmo() -> Family {
    Family {
        norms: Norms::After,
        count: Key::new(&["num_experts", "num_local_experts"], 7),
        chosen: Key::new(&["num_experts_per_tok"], 5),
        inner: Key::new(&["intermediate_size"], 11008),
        ..OLMOE
    }
}

const fn phimoe() -> Family {
    Family {
        attends: BIASED,
        norms: Norms::BeforeShifted,
        count: Key::new(&["num_local_experts"], 16),
        inner: Key::new(&["intermediate_size"], 6400),
        router: Router { name: "mlp.router", is_linear: true, ..GATE },
        head_bias: Some("lm_head_bias"),
        targets: None,
        ..MIXTRAL
    }
}

const fn llama4() -> Family {
    Family {
        heads: Heads { key_value: Some(8), size: Some(128) },
        attends: BIASED,
        windows: Windows::Llama4,
        count: Key::new(&["num_local_experts"], 16),
        chosen: Key::new(&["num_experts_per_tok"], 1),
        inner: Key::new(&["intermediate_size"], 8192),
        router: Router { name: "feed_forward.router", is_linear: true, weights_input: true, ..GATE },
        stack: "feed_forward.experts",
        shared: SharedExpert::Same { name: "feed_forward.shared_expert", first: false },
        sparse: Sparse::Listed,
        targets: None,
        ..MIXTRAL
    }
}

const fn mellum() -> Family {
    Family {
        heads: Heads { key_value: Some(4), size: Some(128) },
        windows: Windows::Repeating { every: 1, first: false, adjustable: false, window: 1024 },
        count: Key::new(&["num_local_experts", "num_experts"], 64),
        inner: Key::new(&["moe_intermediate_size"], 896),
        sparse: Sparse::Typed(0),
        ..QWEN3
    }
}

const fn exaone() -> Family {
    Family {
        heads: Heads { key_value: Some(32), size: None },
        attends: Attends::Plain,
        windows: Windows::Repeating { every: 4, first: false, adjustable: true, window: 4096 },
        count: Key::new(&["num_experts"], 64),
        inner: Key::new(&["moe_intermediate_size"], 1024),
        shared: several(Key::new(&["num_shared_experts"], 1)),
        sparse: Sparse::Typed(1),
        ..QWEN3
    }
}

const fn hunyuan_v3() -> Family {
    Family {
        heads: Heads { key_value: Some(8), size: Some(128) },
        windows: Windows::Never,
        count: Key::new(&["num_experts", "num_local_experts"], 192),
        inner: Key::new(&["moe_intermediate_size"], 1536),
        shared: several(Key::new(&["num_shared_experts"], 1)),
        sparse: Sparse::Typed(1),
        feed_forward_bias: Some("mlp_bias"),
        targets: None,
        ..QWEN3
    }
}
