//! The one place that prints: data to standard output, talk to standard error, whole lines only.
#![expect(clippy::print_stderr, reason = "this is the place")]

use std::io::{self, Write as _};

/// Writes data to standard output. A reader that went away (`| head`) is success.
pub(crate) fn data(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(problem) if problem.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Writes pretty JSON and a line end to standard output.
pub(crate) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(data(&text)?)
}

/// Says one line on standard error, marked as ours so that it is told apart from the job's.
pub(crate) fn talk(line: &str) {
    // One write: a line of ours must not be cut by the job's. A closed standard error is no reason to fail.
    let _ = io::stderr().lock().write_all(format!("flopsmeter: {line}\n").as_bytes());
}

/// Explains a failure: what, then each cause on its own line.
pub(crate) fn failure(problem: &anyhow::Error) {
    let mut text = format!("error: {problem}\n");
    let mut previous = problem.to_string();
    for cause in problem.chain().skip(1) {
        let cause = cause.to_string();
        // Many libraries repeat their source's words in their own.
        if !previous.contains(&cause) {
            text.push_str("  because: ");
            text.push_str(&cause);
            text.push('\n');
        }
        previous = cause;
    }
    eprint!("{text}");
}

/// Columns of a terminal that is not known to be wider.
const COLUMNS: usize = 80;

/// A label and a text beside it, which goes on under itself where it is too long for a line. A word that is longer than a line
/// stays whole, so that it can be copied.
pub(crate) fn labelled(label: &str, width: usize, text: &str) -> String {
    let mut lines = String::new();
    let mut line = format!("{label:<width$}");
    let mut is_empty = true;
    for word in text.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines.push_str(line.trim_end());
            lines.push('\n');
            line = " ".repeat(width);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push_str(line.trim_end());
    lines.push('\n');
    lines
}

/// Columns of the terminal that standard output is; `None` where it is none, and lines may be as long as they are.
pub(crate) fn width() -> Option<usize> {
    terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0))
}

/// Breaks lines that are wider between words; what is carried over stands `indent` columns in, under what a label is about.
pub(crate) fn wrapped(text: &str, width: Option<usize>, indent: usize) -> String {
    let Some(width) = width.filter(|width| *width > indent) else { return text.to_owned() };
    text.lines()
        .map(|line| if line.chars().count() > width { broken(line, width, indent) } else { format!("{line}\n") })
        .collect()
}

fn broken(line: &str, width: usize, indent: usize) -> String {
    // The label keeps the spaces that set it apart.
    let (mut text, mut column) = (String::new(), 0);
    let mut spaces = 0;
    for word in line.split(' ') {
        let letters = word.chars().count();
        if column > indent && column + spaces + letters > width {
            text.push_str(&format!("\n{}", " ".repeat(indent)));
            (column, spaces) = (indent, 0);
        }
        text.push_str(&" ".repeat(spaces));
        text.push_str(word);
        column += spaces + letters;
        spaces = 1;
    }
    text.push('\n');
    text
}

/// A plain-text table: columns padded to their widest cell, right-aligned where asked.
pub(crate) struct TextTable {
    right_aligned: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl TextTable {
    /// Starts with the header; a leading `>` right-aligns the column.
    pub(crate) fn new(header: &[&str]) -> Self {
        let right_aligned = header.iter().map(|cell| cell.starts_with('>')).collect();
        let titles = header.iter().map(|cell| cell.trim_start_matches('>').to_owned()).collect();
        Self { right_aligned, rows: vec![titles] }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Leaves out columns in this order until the rest is no wider; tells the titles of those that it left out.
    pub(crate) fn fit(&mut self, width: Option<usize>, spared: &[&str]) -> Vec<String> {
        let mut left_out = Vec::new();
        for title in spared {
            if width.is_none_or(|width| self.width() <= width) {
                break;
            }
            let titles = self.rows.first().map_or(&[][..], Vec::as_slice);
            let Some(column) = titles.iter().position(|known| known == title) else { continue };
            self.right_aligned.remove(column);
            for row in self.rows.iter_mut().filter(|row| row.len() > column) {
                row.remove(column);
            }
            left_out.push((*title).to_owned());
        }
        left_out
    }

    /// Columns of its widest line.
    pub(crate) fn width(&self) -> usize {
        let widths = self.widths();
        widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1)
    }

    fn widths(&self) -> Vec<usize> {
        let cells = |column| self.rows.iter().filter_map(move |row| row.get(column));
        let widest = |column| cells(column).map(|cell: &String| cell.chars().count()).max().unwrap_or(0);
        (0..self.right_aligned.len()).map(widest).collect()
    }

    pub(crate) fn render(&self) -> String {
        let widths = self.widths();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).zip(&self.right_aligned);
            let line: Vec<String> = cells
                .map(
                    |((cell, width), right)| if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") },
                )
                .collect();
            text.push_str(line.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_go_on_under_themselves() {
        assert_eq!(labelled("next", 6, "do this"), "next  do this\n");
        let text = labelled("next", 6, &"word ".repeat(20));
        assert_eq!(text.lines().map(str::len).collect::<Vec<_>>(), [80, 30]);
        assert!(text.lines().nth(1).unwrap().starts_with("      word"));
        let long = "x".repeat(90);
        assert_eq!(labelled("a", 3, &long), format!("a  {long}\n"));
    }

    #[test]
    fn tables_align() {
        let mut table = TextTable::new(&["term", ">FLOP"]);
        table.row(vec!["mlp".to_owned(), "12".to_owned()]);
        table.row(vec!["attention".to_owned(), "3".to_owned()]);
        assert_eq!(table.render(), "term       FLOP\nmlp          12\nattention     3\n");
    }

    #[test]
    fn tables_leave_out_columns_until_they_fit() {
        let mut table = TextTable::new(&["method", "asked for", ">FLOP"]);
        table.row(vec!["lora".to_owned(), "rank 16 on all-linear".to_owned(), "12".to_owned()]);
        assert_eq!(table.fit(Some(35), &["asked for"]), [""; 0]);
        assert_eq!(table.fit(None, &["asked for"]), [""; 0]);
        assert_eq!(table.fit(Some(34), &["asked for"]), ["asked for"]);
        assert_eq!(table.render(), "method  FLOP\nlora      12\n");
    }

    #[test]
    fn lines_break_between_words_under_what_their_label_is_about() {
        let text = "range  from one to ten\n       because so\nshort  x\n";
        assert_eq!(wrapped(text, None, 7), text);
        assert_eq!(wrapped(text, Some(15), 7), "range  from one\n       to ten\n       because\n       so\nshort  x\n");
        assert_eq!(wrapped("label  unbreakable\n", Some(10), 7), "label  unbreakable\n");
    }
}
