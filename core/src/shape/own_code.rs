//! Configurations whose model is code of their own (`auto_map`), or was changed after it was built.

use super::ShapeProblem;
use super::config::{Config, shortened_text};

/// Whether the class is code that lies beside the weights, though by its name one of the family's; a class of another name may
/// be any network, and is refused.
pub(super) fn check(config: Config<'_>) -> Result<bool, ShapeProblem> {
    if let Some(found) = config.filled("pruned_heads") {
        return Err(ShapeProblem::NotCounted { key: "pruned_heads".to_owned(), found });
    }
    let own = config.texts_within("auto_map", "AutoModel");
    if own.is_empty() {
        return Ok(false);
    }
    let classes = config.texts("architectures")?.unwrap_or_default();
    let Some(class) = classes.first().copied() else { return Ok(true) };
    // `repository--module.Class`
    let named = |entry: &&str| entry.rsplit('.').next() == Some(class);
    if !own.iter().any(named) {
        return Ok(false);
    }
    let model_type = config.text("model_type")?.unwrap_or_default();
    if is_of_family(class, model_type) {
        return Ok(true);
    }
    Err(ShapeProblem::OwnCode { class: shortened_text(class), model_type: shortened_text(model_type) })
}

/// `DeepseekV3ForCausalLM` of `deepseek_v3`. Families spell their numbers in several ways, so the first word decides.
fn is_of_family(class: &str, model_type: &str) -> bool {
    let word = model_type.split(['_', '-']).next().unwrap_or_default();
    class.to_lowercase().starts_with(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(config: &serde_json::Value) -> Result<bool, ShapeProblem> {
        check(Config::new(config)?)
    }

    fn llama(class: &str, entry: &str) -> serde_json::Value {
        serde_json::json!({ "model_type": "llama", "architectures": [class], "auto_map": { "AutoModelForCausalLM": entry } })
    }

    #[test]
    fn a_class_of_another_name_is_refused() {
        assert_eq!(checked(&llama("LlamaForCausalLM", "modeling_llama.LlamaForCausalLM")), Ok(true));
        assert_eq!(checked(&llama("LlamaForCausalLM", "modeling_foo.FooForCausalLM")), Ok(false), "not the one used");
        let refused = checked(&llama("FooForCausalLM", "them/foo--modeling_foo.FooForCausalLM")).unwrap_err();
        assert!(refused.to_string().contains("`FooForCausalLM`"), "{refused}");
    }

    #[test]
    fn spellings_of_published_classes_are_of_their_family() {
        for (class, model_type) in [
            ("DeepseekV3ForCausalLM", "deepseek_v3"),
            ("MPTForCausalLM", "mpt"),
            ("HunYuanMoEV1ForCausalLM", "hunyuan_v1_moe"),
            ("XLMRobertaModel", "xlm-roberta"),
            ("GPTBigCodeForCausalLM", "gpt_bigcode"),
            ("KimiLinearForCausalLM", "kimi_linear"),
        ] {
            assert!(is_of_family(class, model_type), "{class}");
        }
        assert!(!is_of_family("JinaBertForMaskedLM", "bert"));
    }

    #[test]
    fn pruned_heads_are_refused() {
        let pruned = serde_json::json!({ "model_type": "bert", "pruned_heads": { "0": [1] } });
        assert!(checked(&pruned).unwrap_err().to_string().starts_with("key `pruned_heads` is "));
        assert_eq!(checked(&serde_json::json!({ "model_type": "bert", "pruned_heads": {} })), Ok(false));
    }
}
