//! Which row of the table a GPU is of: by its full product name, and by its PCI id.

use super::{GpuRow, GpuTable, PciId};
use crate::sample::GpuFacts;

/// What the table knows of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity<'table> {
    /// Name and PCI id are of one row.
    Both(&'table GpuRow),
    /// The name is; the driver tells no PCI id, or the row has none.
    Name(&'table GpuRow),
    /// The name is, and the PCI id is none of that row's or of any other.
    StrangeId(&'table GpuRow, PciId),
    /// The PCI id is, and the name is in no row.
    Id(&'table GpuRow, PciId),
    /// The name is of one row, the PCI id of another.
    Contradiction {
        /// By name.
        named: &'table GpuRow,
        /// By PCI id.
        by_id: &'table GpuRow,
        /// The id.
        id: PciId,
    },
    /// Neither is.
    Unknown,
}

impl GpuTable {
    /// Finds a GPU by its full product name and by what the driver says of it.
    ///
    /// ```
    /// use flopsmeter_core::gpu_table::{GpuTable, Identity};
    /// use flopsmeter_core::sample::GpuFacts;
    /// let facts = GpuFacts { pci_device_id: Some(0x2335_10de), ..GpuFacts::default() };
    /// let Identity::Both(row) = GpuTable::embedded().identify("NVIDIA H200", &facts) else { panic!() };
    /// assert_eq!(row.label, "H200 SXM");
    /// let other = GpuTable::embedded().identify("NVIDIA H20", &facts);
    /// assert!(matches!(other, Identity::Contradiction { .. }));
    /// ```
    pub fn identify(&self, name: &str, facts: &GpuFacts) -> Identity<'_> {
        let id = PciId::of(facts);
        let of_id = |id: PciId| self.rows.iter().find(|row| row.pci_ids.iter().any(|known| known.covers(id)));
        let by_id = id.and_then(|id| Some((of_id(id)?, id)));
        match (self.find(name), by_id, id) {
            (Some(named), Some((by_id, id)), _) if named != by_id => Identity::Contradiction { named, by_id, id },
            (Some(named), Some(_), _) => Identity::Both(named),
            (Some(named), None, Some(id)) if !named.pci_ids.is_empty() => Identity::StrangeId(named, id),
            (Some(named), None, _) => Identity::Name(named),
            (None, Some((by_id, id)), _) => Identity::Id(by_id, id),
            (None, None, _) => Identity::Unknown,
        }
    }
}

impl<'table> Identity<'table> {
    /// The row that the GPU is called by; the name's, where name and id contradict each other.
    pub const fn row(self) -> Option<&'table GpuRow> {
        match self {
            Self::Both(row) | Self::Name(row) | Self::StrangeId(row, _) | Self::Id(row, _) => Some(row),
            Self::Contradiction { named, .. } => Some(named),
            Self::Unknown => None,
        }
    }

    /// How the row was found, in a few words.
    pub fn words(self) -> String {
        match self {
            Self::Both(_) => "by name and PCI id".to_owned(),
            Self::Name(_) => "by name alone".to_owned(),
            Self::StrangeId(_, id) => format!("by name; PCI id {id} is of no row"),
            Self::Id(_, id) => format!("by PCI id {id}; the name is in no row"),
            Self::Contradiction { by_id, id, .. } => format!("by name; PCI id {id} is of `{}`", by_id.label),
            Self::Unknown => "in no row".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str, device: Option<u32>, subsystem: u32) -> String {
        let facts = GpuFacts { pci_device_id: device, pci_subsystem_id: Some(subsystem), ..GpuFacts::default() };
        let identity = GpuTable::embedded().identify(name, &facts);
        format!("{} {}", identity.row().map_or("-", |row| &row.label), identity.words())
    }

    /// One chip, four products: what peers' substring tables confuse, ids do not.
    #[test]
    fn form_factors_of_one_chip_have_ids_of_their_own() {
        for (name, device, label) in [
            ("NVIDIA H100 80GB HBM3", 0x2330_10de, "H100 SXM5"),
            ("NVIDIA H100 PCIe", 0x2331_10de, "H100 PCIe"),
            ("NVIDIA H100 NVL", 0x2321_10de, "H100 NVL"),
            ("NVIDIA H200", 0x2335_10de, "H200 SXM"),
            ("NVIDIA H200 NVL", 0x233b_10de, "H200 NVL"),
            ("NVIDIA H20", 0x2329_10de, "H20"),
            ("NVIDIA GH200 480GB", 0x2342_10de, "GH200"),
            ("NVIDIA L40", 0x26b5_10de, "L40"),
            ("NVIDIA L40S", 0x26b9_10de, "L40S"),
            ("Tesla T4", 0x1eb8_10de, "T4"),
        ] {
            assert_eq!(identity(name, Some(device), 0), format!("{label} by name and PCI id"));
        }
    }

    #[test]
    fn a_board_is_told_by_its_subsystem_where_one_id_serves_several() {
        assert_eq!(identity("NVIDIA A16", Some(0x25b6_10de), 0x14a9_10de), "A16 (one of 4 GPUs) by name and PCI id");
        assert_eq!(identity("NVIDIA A2", Some(0x25b6_10de), 0x157e_10de), "- in no row");
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        assert_eq!(identity("NVIDIA H200", Some(0x2329_10de), 0), "H200 SXM by name; PCI id 10de:2329 is of `H20`");
        assert_eq!(identity("NVIDIA H200", Some(0x3fff_10de), 0), "H200 SXM by name; PCI id 10de:3fff is of no row");
        assert_eq!(identity("NVIDIA H200", None, 0), "H200 SXM by name alone");
        assert_eq!(
            identity("NVIDIA Graphics Device", Some(0x20b0_10de), 0),
            "A100 SXM4 40GB by PCI id 10de:20b0; the name is in no row"
        );
        assert_eq!(identity("Orin (nvgpu)", Some(0x0_10de), 0), "Jetson AGX Orin 64GB by name alone");
    }
}
