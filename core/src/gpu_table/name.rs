//! Product names as drivers spell them.

/// Words that drivers put in front of a product, by age of the driver.
const VENDOR_WORDS: [&str; 3] = ["NVIDIA ", "Tesla ", "GRID "];

/// The product's name without the vendor's word in front and without a vGPU profile behind it (`A10-24Q` is a time slice of a
/// whole A10: the whole board is charged).
///
/// ```
/// use flopsmeter_core::gpu_table::product_name;
/// assert_eq!(product_name("NVIDIA A100-SXM4-80GB"), "A100-SXM4-80GB");
/// assert_eq!(product_name("Tesla T4"), "T4");
/// assert_eq!(product_name("NVIDIA A10-24Q"), "A10");
/// ```
pub fn product_name(name: &str) -> &str {
    let mut name = name.trim();
    for word in VENDOR_WORDS {
        name = name.strip_prefix(word).unwrap_or(name);
    }
    match name.rsplit_once('-') {
        Some((board, profile)) if is_vgpu_profile(profile) => board,
        _ => name,
    }
}

/// Memory in GB and one letter for the licence: 24Q, 4C, 8B, 16A.
fn is_vgpu_profile(text: &str) -> bool {
    let digits = text.trim_end_matches(['A', 'B', 'C', 'Q']);
    text.len() == digits.len() + 1 && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::super::GpuTable;
    use super::*;

    fn label(name: &str) -> Option<&'static str> {
        GpuTable::embedded().find(name).map(|row| row.label.as_str())
    }

    /// Each pair was confused by a published meter (reference: the AWS sample, torchtitan, verl, Lightning, Composer).
    #[test]
    fn the_mistakes_of_other_meters_are_not_made() {
        for (name, expected) in [
            ("NVIDIA H200", Some("H200 SXM")),
            ("NVIDIA H20", Some("H20")),
            ("NVIDIA GH200 480GB", Some("GH200")),
            ("NVIDIA H200 NVL", Some("H200 NVL")),
            ("NVIDIA A100-SXM4-80GB", Some("A100 SXM4 80GB")),
            ("NVIDIA RTX A1000", None),
            ("NVIDIA A10", Some("A10")),
            ("NVIDIA A10G", Some("A10G")),
            ("NVIDIA A100 80GB PCIe", Some("A100 PCIe 80GB")),
            ("NVIDIA L40", Some("L40")),
            ("NVIDIA L40S", Some("L40S")),
            ("NVIDIA L4", Some("L4")),
            ("NVIDIA A40", Some("A40")),
            ("NVIDIA RTX A4000", Some("RTX A4000")),
            ("NVIDIA H100 PCIe", Some("H100 PCIe")),
            ("NVIDIA H100 NVL", Some("H100 NVL")),
            ("NVIDIA H100 80GB HBM3", Some("H100 SXM5")),
            ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
            ("NVIDIA GB200", Some("GB200")),
            ("NVIDIA B200", Some("B200 (HGX, 1000 W)")),
            ("NVIDIA GB300", Some("GB300")),
            ("NVIDIA B300 SXM6 AC", Some("B300 (HGX)")),
            ("NVIDIA GeForce RTX 4090", Some("RTX 4090")),
            ("NVIDIA GeForce RTX 4090 D", None),
            ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
            ("NVIDIA GeForce RTX 3070 Ti", None),
            ("NVIDIA RTX 6000 Ada Generation", Some("RTX 6000 Ada")),
            ("Quadro RTX 6000", Some("Quadro RTX 6000 / 8000")),
            ("NVIDIA A100-SXM-64GB", None),
            ("Tesla V100-SXM2-32GB", Some("V100 SXM2")),
            ("Tesla V100-PCIE-32GB", Some("V100 PCIe")),
            ("", None),
            ("NVIDIA", None),
        ] {
            assert_eq!(label(name), expected, "{name}");
        }
    }

    #[test]
    fn memory_sizes_are_no_vgpu_profiles() {
        assert_eq!(product_name("NVIDIA A100-PCIE-40GB"), "A100-PCIE-40GB");
        assert_eq!(product_name("GRID A100-10C"), "A100");
        assert_eq!(product_name("NVIDIA H20-3e"), "H20-3e");
        assert_eq!(product_name("-Q"), "-Q");
    }
}
