//! A page that can only take mark-up written here, or text made harmless.

/// A page in the making.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// Mark-up: a constant of this program.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text, in an element or an attribute in double quotes.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for character in text.chars() {
            match character {
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '&' => self.0.push_str("&amp;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                _ if character.is_control() && character != '\n' => self.0.push('\u{FFFD}'),
                _ => self.0.push(character),
            }
        }
        self
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let mut page = Page::default();
        page.raw("<p title=\"").text("\" onclick='x'><script>&\u{0}").raw("\">");
        assert_eq!(
            String::from_utf8(page.into_bytes()).unwrap(),
            "<p title=\"&quot; onclick=&#39;x&#39;&gt;&lt;script&gt;&amp;\u{FFFD}\">"
        );
    }
}
