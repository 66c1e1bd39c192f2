//! PCI ids, by which a GPU is known besides its name.

use std::fmt;
use std::str::FromStr;

use crate::sample::GpuFacts;

/// NVIDIA among the vendors.
const NVIDIA: u16 = 0x10de;

/// The PCI id of a product: of its chip in one fusing, and of its board where one such id serves several products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PciId {
    device: u16,
    /// Vendor and device of the subsystem.
    subsystem: Option<(u16, u16)>,
}

impl PciId {
    /// Of a GPU as the driver describes it; `None` where that is not told or the vendor is another.
    pub fn of(facts: &GpuFacts) -> Option<Self> {
        let (vendor, device) = halves(facts.pci_device_id?);
        (vendor == NVIDIA).then_some(Self { device, subsystem: facts.pci_subsystem_id.map(halves) })
    }

    /// Whether a GPU with this id is of the product that `self` stands for.
    pub(super) fn covers(self, gpu: Self) -> bool {
        self.device == gpu.device && (self.subsystem.is_none() || self.subsystem == gpu.subsystem)
    }

    /// Whether the two stand for some GPU in common.
    pub(super) fn meets(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

/// NVML has the vendor in the lower half of the word.
fn halves(word: u32) -> (u16, u16) {
    let half = |value: u32| u16::try_from(value & 0xffff).unwrap_or(0);
    (half(word), half(word >> 16))
}

/// `10de:2335`; subsystems are left out, for a GPU's own is seldom what is asked about.
impl fmt::Display for PciId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{NVIDIA:04x}:{:04x}", self.device)
    }
}

/// No PCI id of NVIDIA's as the table writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a PCI id is written as `2335`, or as `25b6:10de:14a9` with its subsystem")]
pub struct NotAPciId;

/// Device, or device, subsystem's vendor and subsystem's device, four hexadecimal digits each.
impl FromStr for PciId {
    type Err = NotAPciId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| {
            let digits = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            if digits { u16::from_str_radix(text, 16).map_err(|_| NotAPciId) } else { Err(NotAPciId) }
        };
        let mut parts = text.split(':');
        let (device, vendor, board) = (parts.next(), parts.next(), parts.next());
        let subsystem = match (vendor, board, parts.next()) {
            (None, ..) => None,
            (Some(vendor), Some(board), None) => Some((number(vendor)?, number(board)?)),
            _ => return Err(NotAPciId),
        };
        Ok(Self { device: number(device.unwrap_or_default())?, subsystem })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(device: u32, subsystem: u32) -> PciId {
        let facts = GpuFacts { pci_device_id: Some(device), pci_subsystem_id: Some(subsystem), ..GpuFacts::default() };
        PciId::of(&facts).unwrap()
    }

    #[test]
    fn ids_are_read_as_drivers_and_tables_write_them() {
        let h200: PciId = "2335".parse().unwrap();
        assert_eq!(h200.to_string(), "10de:2335");
        assert!(h200.covers(told(0x2335_10de, 0x18be_10de)) && !h200.covers(told(0x2330_10de, 0x16c1_10de)));
        let a16: PciId = "25b6:10de:14a9".parse().unwrap();
        assert!(a16.covers(told(0x25b6_10de, 0x14a9_10de)) && !a16.covers(told(0x25b6_10de, 0x157e_10de)));
        assert!(a16.meets("25b6".parse().unwrap()) && !a16.meets("25b6:10de:157e".parse().unwrap()));
        let amd = GpuFacts { pci_device_id: Some(0x740f_1002), ..GpuFacts::default() };
        assert_eq!(PciId::of(&amd), None);
        assert_eq!(PciId::of(&GpuFacts::default()), None);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "233", "+233", "2335:", "2335:10de", "2335:10de:18be:1", "23350", "x335", "2335:10de:"] {
            assert_eq!(text.parse::<PciId>(), Err(NotAPciId), "{text}");
        }
    }
}
