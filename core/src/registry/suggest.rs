//! Names that look like one that was not found.

use strsim::osa_distance;

const MOST: usize = 5;

/// Up to five of `known` that look like `name`, best first; equally good ones by name.
pub(super) fn suggest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    let wanted = normal(last_part(name));
    if wanted.is_empty() {
        return Vec::new();
    }
    let most_edits = wanted.chars().count() / 3;
    let mut found: Vec<(usize, &str)> = known
        .filter_map(|candidate| {
            let own = normal(last_part(candidate));
            let distance = osa_distance(&wanted, &own);
            let contained = wanted.len() > 2 && (own.contains(&wanted) || wanted.contains(&own));
            (distance <= most_edits || contained).then_some((distance, candidate))
        })
        .collect();
    found.sort_unstable();
    found.truncate(MOST);
    found.into_iter().map(|(_, candidate)| candidate.to_owned()).collect()
}

/// People forget the organisation or name a mirror's, so only the model's own name is compared.
fn last_part(name: &str) -> &str {
    let name = name.trim().trim_end_matches(['/', '\\']);
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

/// Without case and punctuation: `llama3.1 8b` and `Llama-3.1-8B` are the same. Cut, because a name is short.
fn normal(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).take(100).collect()
}
