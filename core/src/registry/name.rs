//! Forms in which a Hub repository's name reaches us.

/// The repository that a Hub address or a path in the Hub's local cache stands for; `None` for any other text.
///
/// ```
/// use flopsmeter_core::registry::repository_of_path;
/// assert_eq!(repository_of_path("models--openai-community--gpt2").as_deref(), Some("openai-community/gpt2"));
/// assert_eq!(repository_of_path("https://huggingface.co/Qwen/Qwen3-8B/tree/main").as_deref(), Some("Qwen/Qwen3-8B"));
/// assert_eq!(repository_of_path("./checkpoints/final"), None);
/// ```
pub fn repository_of_path(path: &str) -> Option<String> {
    of_cache(path).or_else(|| of_address(path))
}

/// `models--<organisation>--<name>`, the folder names of `huggingface_hub`'s cache.
fn of_cache(path: &str) -> Option<String> {
    let folder = path.split(['/', '\\']).find_map(|part| part.strip_prefix("models--"))?;
    (!folder.is_empty()).then(|| folder.replacen("--", "/", 1))
}

fn of_address(address: &str) -> Option<String> {
    let rest = address.strip_prefix("https://").unwrap_or(address);
    let rest = rest.strip_prefix("huggingface.co/").or_else(|| rest.strip_prefix("hf.co/"))?;
    let mut parts = rest.split(['/', '?', '#']).filter(|part| !part.is_empty());
    let (organisation, name) = (parts.next()?, parts.next()?);
    Some(format!("{organisation}/{name}"))
}
