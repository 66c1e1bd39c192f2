//! The families: which parts each is made of, and the defaults `transformers` 5.23 fills in.
//!
//! Sources: `configuration_<family>.py` for defaults, `modeling_<family>.py` for biases and norms, of the release above.

use super::super::super::mask::{USUAL_WINDOW, Windows};
use super::super::super::parts::{ClassHeads, HeadNorms, Norm, Norms, Order};
use super::super::sizes::Heads;
use super::{Bias, Family, Widens};

/// Every `model_type` below.
pub(in crate::shape) const MODEL_TYPES: [&str; FAMILIES.len()] = {
    let mut names = [""; FAMILIES.len()];
    let mut index = 0;
    while index < FAMILIES.len() {
        names[index] = FAMILIES[index].model_type;
        index += 1;
    }
    names
};

const ATTENTION_BIAS: Bias = Bias::If("attention_bias", false);
const FEED_FORWARD_BIAS: Bias = Bias::If("mlp_bias", false);

/// `q_norm` and `k_norm`, one for each head.
const HEAD_NORMS: HeadNorms = HeadNorms::Head { query: "self_attn.q_norm", key: "self_attn.k_norm" };

/// `q_norm` and `k_norm`, one for all heads together.
const WHOLE_NORMS: HeadNorms = HeadNorms::Whole { query: "self_attn.q_norm", key: "self_attn.k_norm" };

/// A norm before each branch and one after it, ahead of the residual addition.
const SANDWICHED: Order = Order::Sequential {
    attention: Norms { after: Some("post_attention_layernorm"), ..Norms::before("input_layernorm") },
    feed_forward: Norms { after: Some("post_feedforward_layernorm"), ..Norms::before("pre_feedforward_layernorm") },
};

/// A norm after each branch alone.
const AFTER: Order = Order::Sequential {
    attention: Norms::after("post_attention_layernorm"),
    feed_forward: Norms::after("post_feedforward_layernorm"),
};

/// Both branches read one norm.
const PARALLEL: Order = Order::Parallel { attention: "input_layernorm", feed_forward: None };

const SEQUENCES: ClassHeads = ClassHeads { sequence: true, ..ClassHeads::NONE };
const NO_QUESTIONS: ClassHeads = ClassHeads { question: None, ..ClassHeads::ALL };
const QUESTIONS_INSIDE_MODEL: ClassHeads = ClassHeads { question: Some("model"), ..ClassHeads::ALL };

pub(super) const LLAMA: Family = Family {
    model_type: "llama",
    heads: Heads { key_value: None, size: None },
    tied_head: false,
    input_bias: ATTENTION_BIAS,
    output_bias: ATTENTION_BIAS,
    feed_forward_bias: FEED_FORWARD_BIAS,
    head_norms: HeadNorms::None,
    head_norms_if: None,
    fused_attention: false,
    square_output: false,
    widening: Widens::Gated,
    norm: Norm::Scale,
    order: Order::USUAL,
    dropout: None,
    windows: Windows::Never,
    classes: ClassHeads::ALL,
};

/// Llama without any bias.
const UNBIASED: Family =
    Family { input_bias: Bias::Never, output_bias: Bias::Never, feed_forward_bias: Bias::Never, ..LLAMA };

/// Llama whose biases are those of attention alone.
const ATTENTION_BIASED: Family = Family { feed_forward_bias: Bias::Never, ..LLAMA };

const QWEN2: Family = Family {
    model_type: "qwen2",
    heads: Heads { key_value: Some(32), size: None },
    input_bias: Bias::Always,
    windows: Windows::Upper,
    ..UNBIASED
};

const GEMMA: Family = Family {
    model_type: "gemma",
    heads: Heads { key_value: Some(16), size: Some(256) },
    tied_head: true,
    windows: Windows::Bidirectional,
    classes: NO_QUESTIONS,
    ..ATTENTION_BIASED
};

const GEMMA2: Family = Family {
    model_type: "gemma2",
    heads: Heads { key_value: Some(4), size: Some(256) },
    order: SANDWICHED,
    windows: Windows::Alternating { every: 2, adjustable: false },
    ..GEMMA
};

const OLMO2: Family =
    Family { model_type: "olmo2", head_norms: WHOLE_NORMS, order: AFTER, classes: SEQUENCES, ..ATTENTION_BIASED };

const COHERE: Family = Family {
    model_type: "cohere",
    tied_head: true,
    head_norms: WHOLE_NORMS,
    head_norms_if: Some("use_qk_norm"),
    order: PARALLEL,
    classes: ClassHeads::NONE,
    ..ATTENTION_BIASED
};

const GLM: Family = Family {
    model_type: "glm",
    heads: Heads { key_value: Some(2), size: Some(128) },
    input_bias: Bias::If("attention_bias", true),
    widening: Widens::Fused,
    classes: NO_QUESTIONS,
    ..UNBIASED
};

/// Its one projection up and its one down have biases where `mlp_bias` says so.
const ARCEE: Family = Family { model_type: "arcee", widening: Widens::Plain("mlp.up_proj", "mlp.down_proj"), ..LLAMA };

pub(super) const FAMILIES: [Family; 32] = [
    LLAMA,
    Family {
        model_type: "mistral",
        heads: Heads { key_value: Some(8), size: None },
        windows: Windows::All(Some(USUAL_WINDOW)),
        classes: QUESTIONS_INSIDE_MODEL,
        ..UNBIASED
    },
    Family {
        model_type: "ministral",
        heads: Heads { key_value: Some(8), size: None },
        windows: Windows::Listed(Some(USUAL_WINDOW)),
        classes: QUESTIONS_INSIDE_MODEL,
        ..UNBIASED
    },
    Family {
        model_type: "ministral3",
        heads: Heads { key_value: Some(8), size: Some(128) },
        windows: Windows::All(None),
        classes: QUESTIONS_INSIDE_MODEL,
        ..UNBIASED
    },
    QWEN2,
    Family {
        model_type: "qwen3",
        heads: Heads { key_value: Some(32), size: Some(128) },
        input_bias: ATTENTION_BIAS,
        output_bias: ATTENTION_BIAS,
        head_norms: HEAD_NORMS,
        ..QWEN2
    },
    GEMMA,
    GEMMA2,
    Family {
        model_type: "gemma3_text",
        head_norms: HEAD_NORMS,
        windows: Windows::Alternating { every: 6, adjustable: true },
        classes: SEQUENCES,
        ..GEMMA2
    },
    Family {
        model_type: "vaultgemma",
        order: Order::Sequential {
            attention: Norms::before("input_layernorm"),
            feed_forward: Norms::before("pre_feedforward_layernorm"),
        },
        windows: Windows::Repeating { every: 2, first: false, adjustable: false, window: USUAL_WINDOW },
        classes: ClassHeads::NONE,
        ..GEMMA2
    },
    Family {
        model_type: "phi3",
        fused_attention: true,
        widening: Widens::Fused,
        dropout: Some(("resid_pdrop", false)),
        windows: Windows::All(None),
        classes: NO_QUESTIONS,
        ..UNBIASED
    },
    Family { model_type: "olmo", norm: Norm::Bare, classes: SEQUENCES, ..ATTENTION_BIASED },
    OLMO2,
    Family {
        model_type: "olmo3",
        windows: Windows::Repeating { every: 4, first: false, adjustable: false, window: USUAL_WINDOW },
        ..OLMO2
    },
    Family { model_type: "granite", classes: ClassHeads::NONE, ..LLAMA },
    COHERE,
    Family {
        model_type: "cohere2",
        head_norms: HeadNorms::None,
        windows: Windows::Repeating { every: 4, first: false, adjustable: true, window: USUAL_WINDOW },
        ..COHERE
    },
    GLM,
    Family {
        model_type: "glm4",
        order: Order::Sequential {
            attention: Norms { after: Some("post_self_attn_layernorm"), ..Norms::before("input_layernorm") },
            feed_forward: Norms { after: Some("post_mlp_layernorm"), ..Norms::before("post_attention_layernorm") },
        },
        ..GLM
    },
    Family {
        model_type: "exaone4",
        heads: Heads { key_value: Some(32), size: None },
        head_norms: HEAD_NORMS,
        order: AFTER,
        windows: Windows::Repeating { every: 4, first: false, adjustable: true, window: USUAL_WINDOW },
        ..UNBIASED
    },
    Family {
        model_type: "apertus",
        head_norms: HEAD_NORMS,
        widening: Widens::Learned,
        order: Order::Sequential {
            attention: Norms::before("attention_layernorm"),
            feed_forward: Norms::before("feedforward_layernorm"),
        },
        classes: ClassHeads { token: Some("score"), ..ClassHeads::NONE },
        ..ATTENTION_BIASED
    },
    Family {
        model_type: "starcoder2",
        heads: Heads { key_value: Some(2), size: None },
        tied_head: true,
        input_bias: Bias::If("use_bias", true),
        output_bias: Bias::If("use_bias", true),
        feed_forward_bias: Bias::If("use_bias", true),
        widening: Widens::Plain("mlp.c_fc", "mlp.c_proj"),
        norm: Norm::ScaleAndShift,
        dropout: Some(("residual_dropout", false)),
        windows: Windows::All(None),
        classes: NO_QUESTIONS,
        ..LLAMA
    },
    Family {
        model_type: "smollm3",
        heads: Heads { key_value: Some(4), size: None },
        tied_head: true,
        windows: Windows::Unrotated,
        ..LLAMA
    },
    Family { model_type: "nemotron", norm: Norm::ScaleAndShift, ..ARCEE },
    Family {
        model_type: "helium",
        heads: Heads { key_value: Some(20), size: Some(128) },
        output_bias: Bias::Never,
        square_output: true,
        classes: NO_QUESTIONS,
        ..LLAMA
    },
    Family {
        model_type: "ernie4_5",
        heads: Heads { key_value: Some(2), size: Some(128) },
        tied_head: true,
        input_bias: Bias::If("use_bias", false),
        output_bias: Bias::If("use_bias", false),
        feed_forward_bias: Bias::If("use_bias", false),
        classes: ClassHeads::NONE,
        ..LLAMA
    },
    Family {
        model_type: "seed_oss",
        heads: Heads { key_value: Some(8), size: Some(128) },
        input_bias: Bias::If("attention_bias", true),
        output_bias: Bias::If("attention_out_bias", false),
        dropout: Some(("residual_dropout", true)),
        ..LLAMA
    },
    Family {
        model_type: "hunyuan_v1_dense",
        head_norms: HeadNorms::Head { query: "self_attn.query_layernorm", key: "self_attn.key_layernorm" },
        classes: SEQUENCES,
        ..ATTENTION_BIASED
    },
    ARCEE,
    Family {
        model_type: "cwm",
        heads: Heads { key_value: Some(8), size: Some(128) },
        input_bias: Bias::Never,
        output_bias: Bias::Never,
        windows: Windows::Repeating { every: 4, first: true, adjustable: false, window: 2 * USUAL_WINDOW },
        classes: ClassHeads::NONE,
        ..LLAMA
    },
    Family {
        model_type: "jais2",
        input_bias: Bias::If("attention_bias", true),
        output_bias: Bias::If("attention_bias", true),
        feed_forward_bias: Bias::If("mlp_bias", true),
        norm: Norm::ScaleAndShift,
        classes: ClassHeads::NONE,
        ..ARCEE
    },
    Family {
        model_type: "nanochat",
        feed_forward_bias: Bias::Never,
        widening: Widens::Plain("mlp.fc1", "mlp.fc2"),
        norm: Norm::Bare,
        classes: ClassHeads::NONE,
        ..LLAMA
    },
];
