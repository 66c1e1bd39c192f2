//! The most a GPU can do in a second.
//!
//! Strict peak = multiprocessors × operations per clock and multiprocessor × highest clock, for the fastest dense
//! floating-point format of the chip. The data sheet's figure stands beside it and bounds nothing: boards clock above the
//! clock that sheets use (an H100 by 8 %).
//!
//! It assumes that matrix products run on one kind of arithmetic unit at a time: [`ONE_KIND_OF_UNIT`].

use super::{GpuRow, GpuTable, Identity};
use crate::sample::{ComputeCapability, GpuFacts, Mig};
use crate::unit::Flops;

/// What a strict peak rests on besides its factors. Products on vector units in the very cycles in which the tensor units are
/// full would exceed it, by the ratio of the two rates: 3 % on an H100, 25 % on an RTX 3090.
pub const ONE_KIND_OF_UNIT: &str = "matrix products run on one kind of arithmetic unit at a time, at most at the rate of the fastest; elementwise work of vector units beside it is counted as operations on neither side";

/// The most a GPU can do in a second, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuPeak {
    /// Upper bound in operations per second, or why there is none.
    pub strict: Result<Flops, String>,
    /// What it is made of, where there is one.
    pub rate: Option<StrictRate>,
    /// Dense bf16 (or fp16) operations per second of the data sheet; `None` for a GPU that is not in the table.
    pub nominal: Option<Flops>,
    /// What the bound rests on, one sentence each.
    pub assumptions: Vec<String>,
}

/// The factors of a strict peak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrictRate {
    /// Streaming multiprocessors, those of the slice for a MIG instance.
    pub multiprocessors: u32,
    /// Operations per clock and multiprocessor in the fastest dense floating-point format.
    pub flop_per_clock: u32,
    /// The same in bf16 (fp16 where the chip has no bf16) with FP32 accumulation; `None` for a GPU that is not in the table.
    pub sixteen_bit_flop_per_clock: Option<u32>,
    /// FP32 lanes of a multiprocessor, each of which does one multiply-add per clock.
    pub cores_per_multiprocessor: u32,
    /// Highest clock of the multiprocessors.
    pub clock_mhz: u32,
}

impl StrictRate {
    /// Operations per second at so many per clock and multiprocessor.
    pub fn per_second(&self, flop_per_clock: u32) -> Flops {
        let per_clock = u128::from(self.multiprocessors) * u128::from(flop_per_clock);
        Flops((per_clock * u128::from(self.clock_mhz)).saturating_mul(1_000_000))
    }
}

impl GpuPeak {
    /// The same for a board that was seen at this clock: neither its data sheet nor its driver's maximum is above it (overclocked, or a
    /// maximum that is not one).
    #[must_use]
    pub fn seen_at(&self, clock_mhz: u32) -> Self {
        let mut seen = self.clone();
        let Some(rate) = seen.rate.as_mut().filter(|rate| rate.clock_mhz < clock_mhz) else { return seen };
        let told = u128::from(std::mem::replace(&mut rate.clock_mhz, clock_mhz).max(1));
        let raised = |strict: Flops| Flops(strict.0.div_ceil(told).saturating_mul(u128::from(clock_mhz)));
        seen.strict = seen.strict.map(raised);
        seen.assumptions.push(format!(
            "its clock was seen at {clock_mhz} MHz, above its maximum of {told} MHz: bounded at what was seen"
        ));
        seen
    }
}

impl GpuTable {
    /// Bounds a GPU by its name and what the driver says of it. A GPU that is not in the table is bounded by the fastest known
    /// part of its compute capability; a compute capability that is not in the table has no bound.
    pub fn peak(&self, name: &str, facts: &GpuFacts) -> GpuPeak {
        let identity = self.identify(name, facts);
        let mut assumptions = Vec::new();
        let factors = self.whole(name, facts, identity, &mut assumptions);
        let factors = factors.map(|whole| {
            let rate = StrictRate { multiprocessors: slice(facts, whole.multiprocessors, &mut assumptions), ..whole };
            assumptions.push(format!(
                "strict peak: {} multiprocessors × {} FLOP per clock × {} MHz, dense (2:4 sparsity skips operations, it does not add any)",
                rate.multiprocessors, rate.flop_per_clock, rate.clock_mhz
            ));
            assumptions.push(ONE_KIND_OF_UNIT.to_owned());
            rate
        });
        let rate = factors.as_ref().ok().copied();
        let strict = factors.map(|rate| rate.per_second(rate.flop_per_clock));
        let nominal = identity.row().map(|row| nominal(row, facts));
        GpuPeak { strict, rate, nominal, assumptions }
    }

    /// Of the whole GPU. Where name and PCI id do not say the same, all that they may mean is bounded.
    fn whole(
        &self,
        name: &str,
        facts: &GpuFacts,
        identity: Identity<'_>,
        assumptions: &mut Vec<String>,
    ) -> Result<StrictRate, String> {
        let row = |row: &GpuRow| {
            let mut said = Vec::new();
            known_part(row, facts, &mut said).map(|rate| (rate, said))
        };
        let driver = || {
            let mut said = Vec::new();
            self.unknown_part(name, facts, &mut said).map(|rate| (rate, said))
        };
        let (rate, said) = match identity {
            Identity::Both(named) | Identity::Name(named) => row(named)?,
            Identity::Contradiction { named, by_id, id } => {
                assumptions.push(format!(
                    "the name `{name}` is of row `{}` and PCI id {id} of row `{}`: the higher bound is taken",
                    named.label, by_id.label
                ));
                higher(row(named)?, row(by_id)?)
            }
            Identity::StrangeId(named, id) => {
                assumptions.push(format!(
                    "PCI id {id} is of no row of the GPU table: the row of the name or what the driver says is taken, whichever is higher"
                ));
                let named = row(named)?;
                match driver() {
                    Ok(driver) => higher(named, driver),
                    Err(_) => named,
                }
            }
            Identity::Id(by_id, id) => {
                assumptions.push(format!(
                    "PCI id {id} is of row `{}`, which does not have the name `{name}`: that row or what the driver says is taken, whichever is higher",
                    by_id.label
                ));
                match driver() {
                    Ok(driver) => higher(row(by_id)?, driver),
                    Err(_) if facts.compute_capability.is_none_or(|told| told == by_id.compute_capability) => {
                        row(by_id)?
                    }
                    Err(reason) => return Err(reason),
                }
            }
            Identity::Unknown => driver()?,
        };
        assumptions.extend(said);
        Ok(rate)
    }

    fn unknown_part(&self, name: &str, facts: &GpuFacts, assumptions: &mut Vec<String>) -> Result<StrictRate, String> {
        let missing = |fact: &str| {
            format!("`{name}` is not in the GPU table and the driver does not tell its {fact}; add a row for it")
        };
        let capability = facts.compute_capability.ok_or_else(|| missing("compute capability"))?;
        let Fastest { flop_per_clock, sixteen_bit_flop_per_clock, cores } =
            self.fastest_of(capability).ok_or_else(|| {
                format!(
                    "`{name}` has compute capability {capability}, which no row of the GPU table has; add a row for it"
                )
            })?;
        let core_count = facts.core_count.filter(|&cores| cores > 0).ok_or_else(|| missing("core count"))?;
        let clock_mhz = facts.max_sm_clock_mhz.filter(|&clock| clock > 0).ok_or_else(|| missing("maximum clock"))?;
        assumptions.push(format!(
            "no row of the GPU table is sure to be `{name}`: its {core_count} cores are charged at the rate of the fastest known part of compute capability {capability}"
        ));
        Ok(StrictRate {
            multiprocessors: core_count.div_ceil(cores),
            flop_per_clock,
            sixteen_bit_flop_per_clock,
            cores_per_multiprocessor: cores,
            clock_mhz,
        })
    }

    fn fastest_of(&self, capability: ComputeCapability) -> Option<Fastest> {
        let same = || self.rows.iter().filter(|row| row.compute_capability == capability);
        // Without the rate of one of them, none is known to be the highest.
        let sixteen_bit: Option<Vec<u32>> = same().map(|row| row.sixteen_bit_flop_per_clock).collect();
        Some(Fastest {
            flop_per_clock: same().map(|row| row.strict_flop_per_clock).max()?,
            sixteen_bit_flop_per_clock: sixteen_bit.and_then(|rates| rates.into_iter().max()),
            cores: same().map(|row| row.cores_per_multiprocessor).filter(|&cores| cores > 0).min()?,
        })
    }
}

/// What no known part of a compute capability exceeds.
struct Fastest {
    /// Operations per clock and multiprocessor.
    flop_per_clock: u32,
    /// The same in 16-bit formats with FP32 accumulation.
    sixteen_bit_flop_per_clock: Option<u32>,
    /// The fewest cores of a multiprocessor.
    cores: u32,
}

/// The bound with more operations per second.
fn higher(one: (StrictRate, Vec<String>), other: (StrictRate, Vec<String>)) -> (StrictRate, Vec<String>) {
    let per_second = |rate: &StrictRate| rate.per_second(rate.flop_per_clock);
    if per_second(&other.0) > per_second(&one.0) { other } else { one }
}

/// A firm row and the driver are both believed as far as they raise the bound; a row that is not firm gives way to the driver, and bounds
/// nothing where the driver does not tell the cores. Where the driver does not tell the clock, only a row that has a driver's bounds it:
/// boards clock above their data sheet.
fn known_part(row: &GpuRow, facts: &GpuFacts, assumptions: &mut Vec<String>) -> Result<StrictRate, String> {
    if !row.clock_is_maximum && facts.max_sm_clock_mhz.is_none_or(|clock| clock == 0) {
        return Err(format!(
            "the driver does not tell its maximum clock, and row `{}` of the GPU table has none that a driver told: the data sheet's is no bound",
            row.label
        ));
    }
    let core_count = facts.core_count.filter(|&cores| cores > 0);
    if !row.firm && core_count.is_none() {
        return Err(format!(
            "the driver does not tell its core count, and the one of row `{}` of the GPU table is no bound by itself",
            row.label
        ));
    }
    let driver_multiprocessors = core_count.map(|cores| cores.div_ceil(row.cores_per_multiprocessor.max(1)));
    assumptions.push(format!("GPU table row `{}`, fastest format {} ({})", row.label, row.strict_basis, row.source));
    Ok(StrictRate {
        multiprocessors: prefer("multiprocessors", row, row.multiprocessors, driver_multiprocessors, assumptions),
        flop_per_clock: row.strict_flop_per_clock,
        sixteen_bit_flop_per_clock: row.sixteen_bit_flop_per_clock,
        cores_per_multiprocessor: row.cores_per_multiprocessor,
        clock_mhz: prefer("MHz", row, row.clock_mhz, facts.max_sm_clock_mhz, assumptions),
    })
}

fn prefer(unit: &str, row: &GpuRow, table: u32, driver: Option<u32>, assumptions: &mut Vec<String>) -> u32 {
    let Some(driver) = driver.filter(|&value| value > 0) else {
        assumptions.push(format!("the driver does not tell the {unit}: {table} taken from the table"));
        return table;
    };
    let taken = if row.firm { driver.max(table) } else { driver };
    if driver != table {
        assumptions.push(format!("the driver says {driver} {unit}, the table {table}: {taken} taken"));
    }
    taken
}

/// The data sheet speaks of the whole GPU: a MIG slice has its share of it.
fn nominal(row: &GpuRow, facts: &GpuFacts) -> Flops {
    let whole = row.nominal_flop_per_second;
    match facts.mig {
        Mig::Slice { multiprocessors: Some(own), .. } if own > 0 && own < row.multiprocessors => {
            Flops(whole.0.saturating_mul(own.into()) / u128::from(row.multiprocessors))
        }
        _ => whole,
    }
}

/// A MIG slice has its own share of the multiprocessors; where that is unknown the whole GPU is charged.
fn slice(facts: &GpuFacts, whole: u32, assumptions: &mut Vec<String>) -> u32 {
    match &facts.mig {
        Mig::Off => whole,
        Mig::Whole => {
            assumptions.push("the GPU is cut into MIG instances and is charged whole".to_owned());
            whole
        }
        Mig::Slice { parent, multiprocessors: Some(own) } if *own > 0 => {
            assumptions.push(format!("MIG instance with {own} multiprocessors of {parent}"));
            *own
        }
        Mig::Slice { parent, .. } => {
            assumptions.push(format!("MIG instance of unknown size: the whole of {parent} is charged"));
            whole
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(capability: Option<(u32, u32)>, core_count: Option<u32>, max_sm_clock_mhz: Option<u32>) -> GpuFacts {
        let compute_capability = capability.map(|(major, minor)| ComputeCapability { major, minor });
        GpuFacts { compute_capability, core_count, max_sm_clock_mhz, ..GpuFacts::default() }
    }

    fn strict(name: &str, facts: &GpuFacts) -> Result<Flops, String> {
        GpuTable::embedded().peak(name, facts).strict
    }

    #[test]
    fn an_h200_is_charged_at_its_fastest_format_and_highest_clock() {
        let peak = GpuTable::embedded().peak("NVIDIA H200", &facts(Some((9, 0)), Some(16_896), Some(1980)));
        assert_eq!(peak.strict, Ok(Flops(132 * 8192 * 1_980_000_000)));
        assert_eq!(peak.nominal, Some(Flops(989_400_000_000_000)));
        assert_eq!(peak.assumptions.last().map(String::as_str), Some(ONE_KIND_OF_UNIT));
    }

    #[test]
    fn a_board_that_clocks_above_the_table_is_charged_at_its_own_clock() {
        let at = |clock| strict("NVIDIA GeForce RTX 4090", &facts(None, None, clock));
        assert_eq!(at(Some(3105)), Ok(Flops(128 * 2048 * 3_105_000_000)));
        // Observed under load, above the boost clock of the sheet: another board may do more.
        assert!(at(None).unwrap_err().contains("no bound"));
        assert!(at(Some(0)).is_err());
        // The driver has told the maximum of this one.
        assert_eq!(strict("NVIDIA H200", &facts(None, None, None)), Ok(Flops(132 * 8192 * 1_980_000_000)));
    }

    #[test]
    fn a_firm_row_is_not_lowered_by_the_driver_and_a_soft_one_is_replaced() {
        let fewer = facts(None, Some(16_000), Some(1000));
        assert_eq!(strict("NVIDIA H200", &fewer), Ok(Flops(132 * 8192 * 1_980_000_000)));
        assert_eq!(strict("NVIDIA GB200", &fewer), Ok(Flops(125 * 32_768 * 1_000_000_000)));
    }

    #[test]
    fn a_soft_row_bounds_nothing_where_the_driver_tells_no_cores() {
        let clocked = |cores| facts(None, cores, Some(2032));
        for row in GpuTable::embedded().rows() {
            let name = &row.product_names[0];
            assert_eq!(strict(name, &clocked(None)).is_ok(), row.firm, "{name}");
            assert!(strict(name, &clocked(Some(16_896))).is_ok(), "{name}");
        }
        let reason = strict("NVIDIA GB300", &clocked(Some(0))).unwrap_err();
        assert!(reason.contains("does not tell its core count"), "{reason}");
    }

    /// One chip on several boards: by name alone, for each has a name of its own.
    #[test]
    fn form_factors_of_one_chip_have_peaks_of_their_own() {
        let at = |name: &str, multiprocessors: u32, clock| {
            strict(name, &facts(Some((9, 0)), Some(multiprocessors * 128), clock)).unwrap()
        };
        let boards = [("NVIDIA H100 PCIe", 114), ("NVIDIA H100 NVL", 132), ("NVIDIA H100 80GB HBM3", 132)];
        let boards = boards.map(|(name, multiprocessors)| at(name, multiprocessors, None));
        assert!(boards[0] < boards[1] && boards[1] < boards[2], "{boards:?}");
        assert!(at("NVIDIA H200 NVL", 132, None) < at("NVIDIA H200", 132, None));
        // The mistakes of substring tables would lower these.
        let h20 = at("NVIDIA H20", 78, Some(1980));
        assert!(["NVIDIA H200", "NVIDIA GH200 480GB"].into_iter().all(|name| h20 < at(name, 132, Some(1980))));
        let ampere = facts(Some((8, 6)), Some(2304), Some(1500));
        assert!(strict("NVIDIA RTX A1000", &ampere).unwrap() < strict("NVIDIA A100-SXM4-80GB", &ampere).unwrap());
        let nominal = |name: &str| GpuTable::embedded().find(name).unwrap().nominal_flop_per_second;
        assert!(nominal("NVIDIA L40S") > nominal("NVIDIA L40"));
    }

    #[test]
    fn geforce_parts_are_charged_with_fp16_accumulation() {
        assert_eq!(
            strict("NVIDIA GeForce RTX 3090", &facts(None, Some(82 * 128), Some(2100))),
            Ok(Flops(82 * 1024 * 2_100_000_000))
        );
    }

    #[test]
    fn an_unknown_part_is_bounded_by_its_own_cores_and_says_so() {
        let peak = GpuTable::embedded().peak("NVIDIA A100-SXM-64GB", &facts(Some((8, 0)), Some(7936), Some(1395)));
        assert_eq!(peak.strict, Ok(Flops(124 * 2048 * 1_395_000_000)));
        assert_eq!(peak.nominal, None);
        assert!(peak.assumptions.iter().any(|said| said.contains("no row of the GPU table")), "{:?}", peak.assumptions);
    }

    fn with_id(device: u32, facts: &GpuFacts) -> GpuFacts {
        GpuFacts { pci_device_id: Some(device), ..facts.clone() }
    }

    #[test]
    fn where_name_and_pci_id_contradict_each_other_the_higher_bound_is_taken_aloud() {
        let told = facts(Some((9, 0)), Some(78 * 128), Some(1980));
        let (h20, h200) = (strict("NVIDIA H20", &told).unwrap(), strict("NVIDIA H200", &told).unwrap());
        assert!(h20 < h200);
        for (name, id) in [("NVIDIA H20", 0x2335_10de), ("NVIDIA H200", 0x2329_10de)] {
            let peak = GpuTable::embedded().peak(name, &with_id(id, &told));
            assert_eq!(peak.strict, Ok(h200), "{name}");
            let said = peak.assumptions.iter().any(|said| said.contains("the higher bound is taken"));
            assert!(said, "{:?}", peak.assumptions);
        }
        let agreeing = GpuTable::embedded().peak("NVIDIA H200", &with_id(0x2335_10de, &told));
        assert!(!agreeing.assumptions.iter().any(|said| said.contains("PCI")), "{:?}", agreeing.assumptions);
    }

    /// Two slots are better than one proof: an id that nobody knows may be a part with more multiprocessors than the row has.
    #[test]
    fn a_strange_pci_id_raises_the_bound_to_what_the_driver_says() {
        let more = facts(Some((9, 0)), Some(144 * 128), Some(2000));
        let peak = GpuTable::embedded().peak("NVIDIA H200", &with_id(0x3fff_10de, &more));
        assert_eq!(peak.strict, Ok(Flops(144 * 8192 * 2_000_000_000)));
        assert!(peak.assumptions[0].contains("PCI id 10de:3fff is of no row"), "{:?}", peak.assumptions);
        let silent = facts(None, None, None);
        let named = strict("NVIDIA H200", &silent);
        assert_eq!(strict("NVIDIA H200", &with_id(0x3fff_10de, &silent)), named);
    }

    #[test]
    fn a_pci_id_alone_bounds_no_lower_than_the_driver_and_no_other_capability() {
        let told = facts(Some((8, 0)), Some(128 * 64), Some(1500));
        let peak = GpuTable::embedded().peak("NVIDIA Graphics Device", &with_id(0x20b0_10de, &told));
        assert_eq!(peak.strict, Ok(Flops(128 * 2048 * 1_500_000_000)));
        let silent = facts(None, None, None);
        let row = strict("NVIDIA A100-SXM4-40GB", &silent);
        assert_eq!(strict("NVIDIA Graphics Device", &with_id(0x20b0_10de, &silent)), row);
        let other = facts(Some((13, 0)), Some(1), Some(1));
        assert!(strict("NVIDIA Graphics Device", &with_id(0x20b0_10de, &other)).unwrap_err().contains("13.0"));
    }

    #[test]
    fn what_cannot_be_bounded_has_a_reason_and_no_number() {
        for (facts, said) in [
            (facts(None, Some(1), Some(1)), "does not tell its compute capability"),
            (facts(Some((13, 0)), Some(1), Some(1)), "compute capability 13.0, which no row"),
            (facts(Some((9, 0)), None, Some(1)), "does not tell its core count"),
            (facts(Some((9, 0)), Some(1), None), "does not tell its maximum clock"),
            (facts(Some((9, 0)), Some(1), Some(0)), "does not tell its maximum clock"),
            (facts(Some((9, 0)), Some(0), Some(1)), "does not tell its core count"),
        ] {
            let reason = strict("NVIDIA X1", &facts).unwrap_err();
            assert!(reason.contains(said), "{reason}");
        }
    }

    #[test]
    fn a_mig_slice_is_charged_its_own_multiprocessors_and_the_whole_where_unknown() {
        let with = |multiprocessors| GpuFacts {
            mig: Mig::Slice { parent: "GPU-1".to_owned(), multiprocessors },
            ..facts(Some((9, 0)), Some(16_896), Some(1980))
        };
        assert_eq!(strict("NVIDIA H200", &with(Some(16))), Ok(Flops(16 * 8192 * 1_980_000_000)));
        assert_eq!(strict("NVIDIA H200", &with(None)), Ok(Flops(132 * 8192 * 1_980_000_000)));
        let sheet = |own| GpuTable::embedded().peak("NVIDIA H200", &with(own)).nominal.unwrap();
        assert_eq!(sheet(Some(33)), Flops(989_400_000_000_000 / 4));
        assert_eq!(sheet(None), Flops(989_400_000_000_000));
    }
}
