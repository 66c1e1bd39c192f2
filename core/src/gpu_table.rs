//! The GPU table: what each product can do at most, with the source of each row (`data/gpus.csv`).
//!
//! Rows are found by the full product name, never by a part of it: substring tables give an H200 the figure of an H20. The
//! PCI id has to agree ([`GpuTable::identify`]); where it does not, the higher bound is taken and that is said.
//! What is in no row is bounded by [`GpuTable::peak`] from what the driver says of it.

mod identity;
mod name;
mod pci;
mod peak;

use std::sync::OnceLock;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

pub use identity::Identity;
pub use name::product_name;
pub use pci::{NotAPciId, PciId};
pub use peak::{GpuPeak, ONE_KIND_OF_UNIT, StrictRate};

use crate::ledger::Digest;
use crate::sample::ComputeCapability;
use crate::unit::{Flops, parse_whole};

/// The embedded table, byte for byte.
pub const EMBEDDED: &str = include_str!("../data/gpus.csv");

/// One product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuRow {
    /// Short label of the row, for people.
    pub label: String,
    /// Full product names without the vendor word in front, as the driver spells them.
    pub product_names: Vec<String>,
    /// PCI ids of these products, as NVIDIA's driver lists them; none for parts that are not on a PCI bus or in no public list.
    pub pci_ids: Vec<PciId>,
    /// CUDA compute capability.
    pub compute_capability: ComputeCapability,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// FP32 lanes of one multiprocessor.
    pub cores_per_multiprocessor: u32,
    /// Highest clock that the row knows: boost, data sheet or observed.
    pub clock_mhz: u32,
    /// Whether that is the maximum which NVIDIA's driver tells of the product. What a data sheet says or somebody has observed bounds
    /// no other board.
    pub clock_is_maximum: bool,
    /// Operations per clock and multiprocessor in the fastest dense floating-point format, with FP16 accumulation where that
    /// is faster.
    pub strict_flop_per_clock: u32,
    /// The same in bf16 (fp16 where the chip has no bf16) with FP32 accumulation, where the row has it; the highest of its sources.
    pub sixteen_bit_flop_per_clock: Option<u32>,
    /// Which format the fastest one is, and why.
    pub strict_basis: String,
    /// Dense bf16 (or fp16) operations per second as the data sheet has them.
    pub nominal_flop_per_second: Flops,
    /// Rated power of the board, where the row has it.
    pub board_power_milliwatts: Option<u64>,
    /// Whether the row's multiprocessors and clock can be relied on by themselves: marked `high` and `sourced`.
    pub firm: bool,
    /// Where the row comes from.
    pub source: String,
    /// What else there is to know.
    pub note: String,
}

/// A table of GPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GpuTable {
    rows: Vec<GpuRow>,
}

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GpuTableProblem {
    /// The file is no CSV with the columns of the embedded table.
    #[error("the GPU table cannot be read: {source}; compare its columns with those of the embedded table")]
    Unreadable {
        /// What the reader said.
        #[from]
        source: csv::Error,
    },
    /// A cell does not hold what its column asks for.
    #[error("row `{row}` of the GPU table: `{value}` is no {column}; correct the cell")]
    Cell {
        /// The row's label.
        row: String,
        /// The column.
        column: &'static str,
        /// The cell.
        value: String,
    },
    /// Two rows claim one product name.
    #[error("product name `{name}` stands in more than one row of the GPU table; leave it in one")]
    NameTwice {
        /// The name.
        name: String,
    },
    /// Two rows claim one PCI id.
    #[error(
        "PCI id {id} stands in rows `{row}` and `{other}` of the GPU table; leave it in one, or name its boards' subsystems"
    )]
    PciIdTwice {
        /// The id.
        id: PciId,
        /// A row.
        row: String,
        /// Another one.
        other: String,
    },
}

impl GpuTable {
    /// The table that is built in.
    pub fn embedded() -> &'static Self {
        static TABLE: OnceLock<GpuTable> = OnceLock::new();
        // A test reads the embedded table; were it unreadable all the same, each GPU would be bounded from the driver's facts
        // or not at all, never below the truth.
        TABLE.get_or_init(|| Self::parse(EMBEDDED).unwrap_or_default())
    }

    /// SHA-256 of the table that is built in, in lower-case hexadecimal.
    pub fn embedded_digest() -> &'static str {
        static DIGEST: OnceLock<String> = OnceLock::new();
        DIGEST.get_or_init(|| Digest(Sha256::digest(EMBEDDED.as_bytes()).into()).to_string())
    }

    /// Reads a table with the columns of the embedded one.
    pub fn parse(text: &str) -> Result<Self, GpuTableProblem> {
        let mut rows = Vec::new();
        for record in csv::Reader::from_reader(text.as_bytes()).deserialize() {
            let record: Record = record?;
            rows.push(record.into_row()?);
        }
        let mut names: Vec<&String> = rows.iter().flat_map(|row: &GpuRow| &row.product_names).collect();
        names.sort();
        if let Some([name, _]) = names.array_windows().find(|[one, next]| one == next) {
            return Err(GpuTableProblem::NameTwice { name: (*name).clone() });
        }
        check_ids(&rows)?;
        Ok(Self { rows })
    }

    /// All rows, in the order of the file.
    pub fn rows(&self) -> &[GpuRow] {
        &self.rows
    }

    /// The row of a product, by its full name as the driver gives it.
    ///
    /// ```
    /// use flopsmeter_core::gpu_table::GpuTable;
    /// let row = GpuTable::embedded().find("NVIDIA H200").unwrap();
    /// assert_eq!(row.label, "H200 SXM");
    /// assert!(GpuTable::embedded().find("NVIDIA H2000").is_none());
    /// ```
    pub fn find(&self, name: &str) -> Option<&GpuRow> {
        let name = product_name(name);
        self.rows.iter().find(|row| row.product_names.iter().any(|known| known == name))
    }
}

fn check_ids(rows: &[GpuRow]) -> Result<(), GpuTableProblem> {
    let ids = || rows.iter().enumerate().flat_map(|(place, row)| row.pci_ids.iter().map(move |id| (place, row, *id)));
    let twice =
        |&(place, _, id): &(usize, &GpuRow, PciId)| ids().find(|(other, _, known)| *other > place && known.meets(id));
    match ids().find_map(|one| Some((one, twice(&one)?))) {
        Some(((_, row, id), (_, other, _))) => {
            Err(GpuTableProblem::PciIdTwice { id, row: row.label.clone(), other: other.label.clone() })
        }
        None => Ok(()),
    }
}

/// A line of the file; columns that only people read are left out.
#[derive(Deserialize)]
struct Record {
    gpu: String,
    product_names: String,
    /// Tables of before had no such column.
    #[serde(default)]
    pci_device_ids: String,
    compute_capability: String,
    sm_count: u32,
    boost_mhz: String,
    tensor_clock_mhz_used_by_sheet: String,
    max_sm_clock_mhz_nvml: String,
    tensor_clock_basis: String,
    dense_bf16_tflops: String,
    dense_fp16_tflops: String,
    flop_per_clk_per_sm_fp32: u32,
    flop_per_clk_per_sm_bf16: Option<u32>,
    flop_per_clk_per_sm_fp16: Option<u32>,
    /// Where sources disagree on the 16-bit rate. Tables of before had no such column.
    #[serde(default)]
    strict_sixteen_bit_flop_per_clk_per_sm: Option<u32>,
    strict_flop_per_clk_per_sm: u32,
    strict_basis: String,
    tdp_w: String,
    confidence: String,
    source: String,
    note: String,
}

impl Record {
    fn into_row(self) -> Result<GpuRow, GpuTableProblem> {
        let problem =
            |column, value: &str| GpuTableProblem::Cell { row: self.gpu.clone(), column, value: value.to_owned() };
        let clocks = [&self.boost_mhz, &self.tensor_clock_mhz_used_by_sheet, &self.max_sm_clock_mhz_nvml];
        let clock_mhz = clocks.iter().filter_map(|cell| highest_number(cell)).max();
        let sheet = if self.dense_bf16_tflops.is_empty() { &self.dense_fp16_tflops } else { &self.dense_bf16_tflops };
        let nominal: Flops = format!("{sheet}e12").parse().map_err(|_| problem("number of TFLOP/s", sheet))?;
        let board_power_milliwatts = match self.tdp_w.trim() {
            "" => None,
            watts => {
                let milliwatts = parse_whole(&format!("{watts}e3")).ok().and_then(|it| u64::try_from(it).ok());
                Some(milliwatts.ok_or_else(|| problem("number of watts", watts))?)
            }
        };
        let ids = self.pci_device_ids.split(';').filter(|id| !id.is_empty());
        let pci_ids = ids.map(|id| id.parse().map_err(|_| problem("PCI id", id))).collect::<Result<_, _>>()?;
        Ok(GpuRow {
            pci_ids,
            product_names: self.product_names.split(';').map(str::to_owned).collect(),
            compute_capability: self
                .compute_capability
                .parse()
                .map_err(|_| problem("compute capability", &self.compute_capability))?,
            multiprocessors: self.sm_count,
            // A multiply-add counts as two operations.
            cores_per_multiprocessor: self.flop_per_clk_per_sm_fp32 / 2,
            clock_is_maximum: self.max_sm_clock_mhz_nvml.parse::<u32>().is_ok_and(|told| Some(told) == clock_mhz),
            clock_mhz: clock_mhz.ok_or_else(|| problem("clock in MHz", &self.boost_mhz))?,
            strict_flop_per_clock: self.strict_flop_per_clk_per_sm,
            sixteen_bit_flop_per_clock: self
                .strict_sixteen_bit_flop_per_clk_per_sm
                .or(self.flop_per_clk_per_sm_bf16)
                .or(self.flop_per_clk_per_sm_fp16),
            strict_basis: self.strict_basis.clone(),
            nominal_flop_per_second: nominal,
            board_power_milliwatts,
            firm: self.confidence == "high" && self.tensor_clock_basis == "sourced",
            source: self.source.clone(),
            note: self.note.clone(),
            label: self.gpu,
        })
    }
}

/// The highest whole number of a cell: `1965-1980 (observed)` gives 1980.
fn highest_number(cell: &str) -> Option<u32> {
    cell.split(|character: char| !character.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).max()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_embedded_row_can_be_read_and_has_a_source() {
        let table = GpuTable::parse(EMBEDDED).unwrap();
        assert_eq!(table.rows().len(), 52);
        for row in table.rows() {
            assert!(!row.source.is_empty(), "{} has no source", row.label);
            assert!(!row.strict_basis.is_empty(), "{} does not say which format is its fastest", row.label);
            assert!(row.multiprocessors > 0 && row.clock_mhz > 0 && row.cores_per_multiprocessor > 0, "{}", row.label);
            assert!(row.product_names.iter().all(|name| product_name(name) == name), "{}", row.label);
        }
    }

    /// A row's cells by the names of their columns.
    fn cells() -> Vec<BTreeMap<String, String>> {
        csv::Reader::from_reader(EMBEDDED.as_bytes()).deserialize().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn a_strict_peak_is_below_no_format_of_the_data_sheet() {
        const FORMATS: [&str; 6] = ["fp32", "tf32", "bf16", "fp16", "fp8", "fp4"];
        for (row, cells) in GpuTable::embedded().rows().iter().zip(cells()) {
            let a_second = |flop_per_clock: u32| {
                u128::from(row.multiprocessors) * u128::from(flop_per_clock) * u128::from(row.clock_mhz) * 1_000_000
            };
            let sheets = |format: &str| format!("{}e12", cells[&format!("dense_{format}_tflops")]).parse::<Flops>();
            for (format, sheet) in FORMATS.iter().filter_map(|format| Some((format, sheets(format).ok()?))) {
                // Sheets round: half a per cent is theirs. An H20's says more FP32 than its cores could do.
                let strict = a_second(row.strict_flop_per_clock);
                assert!(strict * 1005 >= sheet.0 * 1000, "{}: {format}", row.label);
                if ["bf16", "fp16"].contains(format) {
                    let given = a_second(row.sixteen_bit_flop_per_clock.unwrap());
                    assert!(given * 1005 >= sheet.0 * 1000, "{}: {format}", row.label);
                }
            }
        }
    }

    #[test]
    fn where_sources_disagree_no_rate_is_the_lower_one() {
        for row in
            GpuTable::embedded().rows().iter().filter(|row| row.strict_basis.contains("full rate of its compute"))
        {
            let same = GpuTable::embedded().rows().iter().filter(|it| it.compute_capability == row.compute_capability);
            assert_eq!(
                row.sixteen_bit_flop_per_clock,
                same.filter_map(|it| it.sixteen_bit_flop_per_clock).max(),
                "{}",
                row.label
            );
        }
    }

    #[test]
    fn a_table_with_a_name_in_two_rows_is_refused() {
        let (header, rows) = EMBEDDED.split_once('\n').unwrap();
        let first = rows.lines().next().unwrap();
        let twice = format!("{header}\n{first}\n{first}\n");
        assert!(matches!(GpuTable::parse(&twice), Err(GpuTableProblem::NameTwice { .. })));
    }

    #[test]
    fn a_table_with_a_pci_id_in_two_rows_is_refused() {
        let twice = EMBEDDED.replace(",2335,", ",2329,");
        let problem = GpuTable::parse(&twice).unwrap_err().to_string();
        assert!(problem.starts_with("PCI id 10de:2329 stands in rows `H20` and `H200 SXM`"), "{problem}");
        let board = EMBEDDED.replace(",2335,", ",2335:10de:18be,").replace(",2330,", ",2335:10de:16c1,");
        assert!(GpuTable::parse(&board).is_ok());
        let nonsense = GpuTable::parse(&EMBEDDED.replace(",2335,", ",x335,")).unwrap_err().to_string();
        assert_eq!(nonsense, "row `H200 SXM` of the GPU table: `x335` is no PCI id; correct the cell");
    }

    #[test]
    fn each_pci_id_has_a_source_of_its_own() {
        let mut reader = csv::Reader::from_reader(EMBEDDED.as_bytes());
        let columns = reader.headers().unwrap().clone();
        let place = |name: &str| columns.iter().position(|column| column == name).unwrap();
        let (ids, source) = (place("pci_device_ids"), place("pci_source"));
        let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
        assert!(rows.iter().all(|row| row[ids].is_empty() == row[source].is_empty()));
        assert!(rows.iter().filter(|row| row[ids].is_empty()).count() <= 3);
    }

    #[test]
    fn a_bad_cell_is_named() {
        let (header, rows) = EMBEDDED.split_once('\n').unwrap();
        let broken = rows.lines().next().unwrap().replace(",7.0,", ",seven,");
        let problem = GpuTable::parse(&format!("{header}\n{broken}\n")).unwrap_err();
        assert_eq!(
            problem.to_string(),
            "row `V100 SXM2` of the GPU table: `seven` is no compute capability; correct the cell"
        );
    }
}
