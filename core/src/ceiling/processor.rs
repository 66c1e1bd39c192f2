//! The most one processor core can do in a second, from its instruction-set flags (`data/cpus.csv`).

use serde::Deserialize;

use crate::sample::CpuFacts;
use crate::unit::Flops;

/// The embedded table, byte for byte.
pub const EMBEDDED: &str = include_str!("../../data/cpus.csv");

/// Flags that start so name floating-point units. One that the table does not know leaves the processor without a bound.
const FLOATING_POINT_FLAGS: [(&str, &[&str]); 2] = [
    ("x86_64", &["sse", "ssse3", "avx", "amx", "fma", "f16c"]),
    ("aarch64", &["fp", "asimd", "bf16", "ebf16", "sve", "sme", "f8"]),
];

/// The most one logical processor can do, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorePeak {
    /// Upper bound in operations per second, or why there is none.
    pub strict: Result<Flops, String>,
    /// What the bound rests on, one sentence each.
    pub assumptions: Vec<String>,
}

#[derive(Deserialize)]
struct Row {
    architecture: String,
    feature: String,
    kind: String,
    value: u32,
    basis: String,
    source: String,
}

/// Whether a flag of `/proc/cpuinfo` names a floating-point unit, and so belongs in [`CpuFacts::features`].
pub fn names_floating_point(architecture: &str, flag: &str) -> bool {
    let families = FLOATING_POINT_FLAGS.iter().filter(|(known, _)| *known == architecture);
    families.flat_map(|(_, prefixes)| prefixes.iter()).any(|prefix| flag.starts_with(prefix))
}

/// Bounds one logical processor: the widest unit any of its flags names × the highest clock. Two logical processors that
/// share a core are each charged the whole core.
pub fn core_peak(facts: &CpuFacts) -> CorePeak {
    let mut assumptions = Vec::new();
    let strict = flop_per_cycle(facts, &mut assumptions).and_then(|flop_per_cycle| {
        let clock_mhz = clock_mhz(facts, &mut assumptions)?;
        Ok(Flops(u128::from(flop_per_cycle) * u128::from(clock_mhz) * 1_000_000))
    });
    CorePeak { strict, assumptions }
}

fn rows() -> impl Iterator<Item = Row> {
    csv::Reader::from_reader(EMBEDDED.as_bytes()).into_deserialize().filter_map(Result::ok)
}

fn flop_per_cycle(facts: &CpuFacts, assumptions: &mut Vec<String>) -> Result<u32, String> {
    let architecture = &facts.architecture;
    let known: Vec<Row> =
        rows().filter(|row| row.kind == "flop_per_cycle" && row.architecture == *architecture).collect();
    if known.is_empty() {
        return Err(format!("no bound is known for processors of architecture `{architecture}`"));
    }
    let has = |row: &Row| row.feature.is_empty() || facts.features.contains(&row.feature);
    let unknown = facts
        .features
        .iter()
        .find(|flag| names_floating_point(architecture, flag) && !known.iter().any(|row| row.feature == **flag));
    if let Some(flag) = unknown {
        return Err(format!(
            "the processor has the unit `{flag}`, whose speed is not in the processor table; add a row for it"
        ));
    }
    let widest = known.iter().filter(|row| has(row)).max_by_key(|row| row.value);
    let widest = widest.ok_or_else(|| format!("the processor table has no baseline for `{architecture}`"))?;
    let unit = if widest.feature.is_empty() { "baseline" } else { &widest.feature };
    assumptions.push(format!(
        "each processor can do {} FLOP a cycle at most ({unit}: {}; {})",
        widest.value, widest.basis, widest.source
    ));
    Ok(widest.value)
}

fn clock_mhz(facts: &CpuFacts, assumptions: &mut Vec<String>) -> Result<u32, String> {
    if let Some(clock) = facts.max_clock_mhz.filter(|&clock| clock > 0) {
        assumptions.push(format!("highest clock of the processor as the kernel tells it: {clock} MHz"));
        return Ok(clock);
    }
    let worst = rows().find(|row| row.kind == "max_clock_mhz");
    let worst = worst.ok_or_else(|| "the kernel does not tell the processor's highest clock".to_owned())?;
    assumptions.push(format!(
        "the kernel does not tell the processor's highest clock: {} MHz taken, the {} ({})",
        worst.value, worst.basis, worst.source
    ));
    Ok(worst.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(architecture: &str, features: &[&str], max_clock_mhz: Option<u32>) -> CpuFacts {
        let features = features.iter().map(|&flag| flag.to_owned()).collect();
        let architecture = architecture.to_owned();
        CpuFacts { logical_cores: 2, max_clock_mhz, features, architecture, package_energy_missing: None }
    }

    #[test]
    fn every_row_can_be_read_and_has_a_source() {
        let mut reader = csv::Reader::from_reader(EMBEDDED.as_bytes());
        let all: Vec<Row> = reader.deserialize().collect::<Result<_, _>>().unwrap();
        assert!(all.len() > 50);
        for row in all {
            assert!(row.value > 0 && !row.basis.is_empty() && !row.source.is_empty(), "{}", row.feature);
            assert!(row.feature.is_empty() || names_floating_point(&row.architecture, &row.feature), "{}", row.feature);
        }
    }

    #[test]
    fn the_widest_unit_and_the_known_clock_are_taken() {
        let peak = core_peak(&facts("x86_64", &["sse2", "avx2", "fma", "avx512f", "amx_bf16", "amx_tile"], Some(3500)));
        assert_eq!(peak.strict, Ok(Flops(1216 * 3_500_000_000)));
    }

    #[test]
    fn a_hidden_clock_is_replaced_by_the_worst_and_said() {
        let peak = core_peak(&facts("x86_64", &[], None));
        assert_eq!(peak.strict, Ok(Flops(8 * 6_200_000_000)));
        assert!(peak.assumptions.iter().any(|said| said.contains("6200 MHz taken")), "{:?}", peak.assumptions);
    }

    #[test]
    fn what_the_table_does_not_know_has_no_bound() {
        for (architecture, flag) in
            [("riscv64", "v"), ("x86_64", "amx_fp8"), ("aarch64", "sme2"), ("x86_64", "avx10_2")]
        {
            assert!(core_peak(&facts(architecture, &[flag], Some(1000))).strict.is_err(), "{architecture} {flag}");
        }
        assert!(core_peak(&facts("x86_64", &["rdtscp", "sha_ni"], Some(1000))).strict.is_ok());
    }
}
