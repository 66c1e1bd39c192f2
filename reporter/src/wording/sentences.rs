//! Splits a template file into its sentences.

const BEGIN: &str = "{% block ";
const END: &str = "{% endblock";
const CLOSE: &str = "%}";

/// Names and bodies of the top-level blocks of `file`, in order; what stands between them is comment.
pub(super) fn split(file: &str) -> Vec<(&str, &str)> {
    let mut sentences = Vec::new();
    let mut rest = file;
    while let Some(sentence) = rest.split_once(BEGIN).and_then(|(_, after)| {
        let (name, body) = after.split_once(CLOSE)?;
        let (body, after) = body.split_once(END)?;
        let (_, after) = after.split_once(CLOSE)?;
        Some((name.trim(), body, after))
    }) {
        let (name, body, after) = sentence;
        sentences.push((name, body));
        rest = after;
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_is_a_sentence() {
        let file =
            "{# head #}\n{% block one %}1 {% if x %}y{% endif %}{% endblock %}\n{% block two %}\n2\n{% endblock two %}";
        assert_eq!(split(file), [("one", "1 {% if x %}y{% endif %}"), ("two", "\n2\n")]);
    }

    #[test]
    fn an_open_block_is_no_sentence() {
        assert_eq!(split("{% block one %}1{% endblock %}{% block two %}2"), [("one", "1")]);
    }
}
