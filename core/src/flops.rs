//! Counts the operations of a network, to the last one, as PyTorch's own operation counter does.
//!
//! One rule, applied to an ordered list of products: walk the network forward with one boolean per activation, "requires
//! grad". A product `Y = X W` over `T` tokens costs `2·T·in·out` forward, the same again backward for `dX` if `X` requires
//! grad, and the same again for `dW` if `W` is trained. `Y` requires grad if `X` does or anything on the way is trained.
//!
//! ```
//! use flopsmeter_core::flops::{Batch, Network};
//! use flopsmeter_core::method::{Method, Targets, TrainingOptions};
//! use flopsmeter_core::shape::Shape;
//!
//! let config = serde_json::json!({
//!     "model_type": "llama", "vocab_size": 128_256, "hidden_size": 2048, "intermediate_size": 8192,
//!     "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": true,
//! });
//! let shape = Shape::from_config(&config).unwrap();
//! let method = Method::lora(16, Targets::Named(vec!["q_proj".into(), "v_proj".into()]));
//! let network = Network::from_method(&shape, &method, &TrainingOptions::default()).unwrap();
//! assert_eq!(network.parameters_trainable(), 1_703_936);
//!
//! let micro_batch = network.cost().pass(true, &Batch::text(1, 512));
//! assert_eq!(micro_batch.forward.0, 1_301_509_308_416);
//! assert_eq!(micro_batch.backward.0, 1_330_030_575_616);
//! ```

mod batch;
mod cost;
mod count;
mod facts;
mod names;
mod network;
mod passes;
mod plan;
mod region;
mod stage;
mod state;
mod targets;
mod walk;

pub use batch::Batch;
pub(crate) use cost::SpareExperts;
pub use cost::{Attention, Cost, Part, TermCost};
pub use count::Count;
pub use network::{Network, Product};
pub use passes::{LiveCost, Packing, count_passes};
