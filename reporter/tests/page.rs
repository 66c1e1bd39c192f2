//! Checks of a written page.

use std::path::Path;
use std::process::Command;

const VOID: [&str; 2] = ["meta", "br"];

/// Every element that is opened is closed, in order; every attribute value stands in double quotes.
pub(crate) fn well_formed(page: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").ok_or("no doctype")?;
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, after) = after.split_once('>').ok_or("a tag without end")?;
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            let last = open.pop();
            if last != Some(name) {
                return Err(format!("</{name}> closes {last:?}"));
            }
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap_or_default();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(format!("<{tag}> is no tag"));
        }
        if tag.matches('"').count() % 2 == 1 {
            return Err(format!("<{tag}> has an open quote"));
        }
        if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("{open:?} are never closed")) }
}

/// No element that fetches, no style that does; addresses stand in links only, which a reader follows by hand.
pub(crate) fn loads_nothing(page: &str) -> Result<(), String> {
    for fetcher in
        ["<script", "<link", "<img", "<iframe", "<object", "<embed", " src=", "@import", "url(", " onload", "xlink"]
    {
        if page.contains(fetcher) {
            return Err(format!("the page has {fetcher}"));
        }
    }
    let (with_protocol, in_links) = (page.matches("href=\"http").count(), page.matches("<a href=\"https://").count());
    if with_protocol == in_links { Ok(()) } else { Err(format!("{with_protocol} addresses, {in_links} in links")) }
}

/// Every row of a Markdown table has as many cells as the row above it.
pub(crate) fn tables_are_even(page: &str) -> Result<(), String> {
    let mut cells = None;
    for line in page.lines() {
        if !line.starts_with('|') {
            cells = None;
            continue;
        }
        let here = line.replace("\\\\", "").replace("\\|", "").matches('|').count();
        if *cells.get_or_insert(here) != here {
            return Err(format!("a row with {here} bars: {line}"));
        }
    }
    Ok(())
}

/// Text of a PDF as a reader would copy it; `None` where there is no pdftotext.
pub(crate) fn pdf_text(path: &Path) -> Option<String> {
    let output = Command::new("pdftotext").args(["-enc", "UTF-8"]).arg(path).arg("-").output().ok()?;
    assert!(output.status.success(), "pdftotext: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
