//! GPUs of several generations.

/// What a GPU truly is, and what the driver calls it.
#[derive(Debug)]
pub(super) struct Product {
    pub(super) name: &'static str,
    pub(super) pci_device_id: u32,
    pub(super) compute_capability: [u32; 2],
    pub(super) multiprocessors: u128,
    /// In its fastest format (dense), and in FP32 outside tensor pipes.
    pub(super) tensor_flop_per_clock: u128,
    pub(super) vector_flop_per_clock: u128,
    pub(super) max_clock_mhz: u64,
}

/// With activity counters and without, in the table and not, with more multiprocessors than the table is sure of, above its clock.
pub(super) const PRODUCTS: [Product; 6] = [
    product("NVIDIA H200", 0x2335, [9, 0], 132, [8192, 256], 1980),
    product("NVIDIA A100-SXM4-80GB", 0x20b2, [8, 0], 108, [2048, 128], 1410),
    product("NVIDIA L40", 0x26b5, [8, 9], 142, [2048, 256], 2490),
    product("NVIDIA GeForce RTX 4090", 0x2684, [8, 9], 128, [2048, 256], 3105),
    product("NVIDIA GB300", 0x31c2, [10, 3], 160, [49_152, 256], 2032),
    product("NVIDIA H999", 0x9999, [9, 0], 144, [8192, 256], 2100),
];

const fn product(
    name: &'static str,
    pci_device: u32,
    compute_capability: [u32; 2],
    multiprocessors: u128,
    [tensor_flop_per_clock, vector_flop_per_clock]: [u128; 2],
    max_clock_mhz: u64,
) -> Product {
    let pci_device_id = (pci_device << 16) | 0x10de;
    Product {
        name,
        pci_device_id,
        compute_capability,
        multiprocessors,
        tensor_flop_per_clock,
        vector_flop_per_clock,
        max_clock_mhz,
    }
}
