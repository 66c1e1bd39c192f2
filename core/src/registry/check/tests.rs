use super::*;
use crate::registry::ROWS;

fn rules() -> &'static RuleSet {
    RuleSet::embedded("eu-gpai-2026-07-27").unwrap()
}

fn defects(rows: &str) -> Vec<Defect> {
    check(rows, rules()).unwrap_or_else(|problem| panic!("{problem}")).defects
}

/// Rows that are enough for a slip in one of them: themselves and their parents.
const SOME: [&str; 6] = [
    "huggyllama/llama-7b",
    "meta-llama/Llama-3.1-8B",
    "meta-llama/Llama-3.1-70B",
    "meta-llama/Llama-3.2-1B",
    "meta-llama/Llama-3.3-70B-Instruct",
    "deepseek-ai/DeepSeek-R1-Distill-Llama-70B",
];

/// Some rows of the table, with one row's cells written over.
fn with(id: &str, cells: &[(&str, &str)]) -> String {
    let mut reader = csv::Reader::from_reader(ROWS.as_bytes());
    let header = reader.headers().unwrap().clone();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&header).unwrap();
    let mut touched = false;
    for record in reader.records() {
        let record = record.unwrap();
        if !SOME.contains(&&record[0]) {
            continue;
        }
        let is_it = &record[0] == id;
        touched |= is_it;
        let own = |column: &str| cells.iter().find(|(name, _)| is_it && *name == column).map(|(_, text)| *text);
        let row = header.iter().zip(&record).map(|(column, text)| own(column).unwrap_or(text));
        writer.write_record(row).unwrap();
    }
    assert!(touched, "no row {id}");
    assert!(cells.iter().all(|(column, _)| header.iter().any(|name| name == *column)), "{cells:?}");
    String::from_utf8(writer.into_inner().unwrap()).unwrap()
}

#[test]
fn the_shipped_table_has_no_defect() {
    let found = defects(ROWS);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn each_slip_is_found_in_its_row_and_column() {
    let llama = "meta-llama/Llama-3.1-8B";
    let distilled = "deepseek-ai/DeepSeek-R1-Distill-Llama-70B";
    for (id, cells, column) in [
        (llama, &[("estimate_formula", "6*8030261248*15e13")][..], "flop_estimate"),
        (llama, &[("estimate_formula", "6*P*D")], "estimate_formula"),
        (llama, &[("estimate_formula", "")], "estimate_formula"),
        (llama, &[("estimate_method", "")], "estimate_method"),
        (llama, &[("flop", "7.3e23")], "flop"),
        (llama, &[("flop_basis", "rumour")], "flop_basis"),
        (llama, &[("flop_lowest", "7.1e23")], "flop_lowest"),
        (llama, &[("third_of_flop", "2.5e23")], "third_of_flop"),
        (llama, &[("third_of_lowest", "2.5e23")], "third_of_lowest"),
        (llama, &[("max_min_ratio", "1.01")], "max_min_ratio"),
        (llama, &[("disagreement_over_30pct", "no")], "disagreement_over_30pct"),
        (llama, &[("pretrain_tokens", "1.5e12"), ("notes", "")], "flop"),
        (llama, &[("active_params", "9e9")], "active_params"),
        (llama, &[("above_1e23", "no")], "above_1e23"),
        (llama, &[("above_1e25", "yes")], "above_1e25"),
        (llama, &[("sources", "")], "sources"),
        (llama, &[("sources", "a friend")], "sources"),
        (llama, &[("tokens_source", "")], "tokens_source"),
        (llama, &[("epoch_snapshot", "")], "epoch_snapshot"),
        (llama, &[("gpu_type", "")], "gpu_type"),
        (llama, &[("confidence", "sure")], "confidence"),
        (llama, &[("licence", "")], "licence"),
        (llama, &[("release_date", "July 2024")], "release_date"),
        (llama, &[("parent_compute_flop", "1e23")], "parent_model"),
        (llama, &[("parent_model", llama), ("parent_relation", "itself")], "parent_model"),
        (llama, &[("parent_model", "meta-llama/Llama-3.2-1B"), ("parent_relation", "a ring")], "parent_model"),
        (distilled, &[("notes", "")], "flop"),
        (distilled, &[("parent_relation", "")], "parent_relation"),
        ("huggyllama/llama-7b", &[("flop", ""), ("unknown_reason", "lost")], "flop_basis"),
    ] {
        let found = defects(&with(id, cells));
        assert!(found.iter().any(|defect| defect.row == id && defect.column == column), "{cells:?}: {found:#?}");
        assert!(found.iter().all(|defect| !defect.text.is_empty()));
    }
}

#[test]
fn a_note_excuses_what_is_unusual_and_nothing_that_is_wrong() {
    let llama = "meta-llama/Llama-3.1-8B";
    let noted = [("pretrain_tokens", "1.5e12"), ("notes", "The card counts another corpus.")];
    assert_eq!(defects(&with(llama, &noted)), []);
    let wrong = [("third_of_flop", "2.5e23"), ("notes", "Rounded.")];
    assert_eq!(defects(&with(llama, &wrong)).len(), 1);
}

#[test]
fn a_broken_form_is_told_with_row_and_column() {
    let problem = check(&with("meta-llama/Llama-3.1-8B", &[("flop", "-1")]), rules()).unwrap_err();
    assert!(
        problem.to_string().contains("meta-llama/Llama-3.1-8B") && problem.to_string().contains("flop"),
        "{problem}"
    );
}
