//! The machine's processors, and the time the job's processes spent on them.

use std::time::Duration;

use flopsmeter_core::ceiling::names_floating_point;
use flopsmeter_core::sample::{CpuFacts, Device, DeviceFacts};
use sysinfo::{CpuRefreshKind, System};

use super::Kernel;

/// Drivers of the kernel whose `cpuinfo_max_freq` includes boost. `acpi-cpufreq`, for one, leaves it out.
const DRIVERS_THAT_TELL_BOOST: [&str; 6] =
    ["intel_pstate", "intel_cpufreq", "amd-pstate", "amd-pstate-epp", "cppc_cpufreq", "apple-cpufreq"];

/// The processors of this machine as one device; one without a bound where the kernel does not tell how many there are.
pub fn describe(kernel: &Kernel) -> Device {
    let host = System::host_name().unwrap_or_else(|_| "localhost".to_owned());
    let (name, facts) = processors(kernel).unwrap_or_else(|reason| {
        ("unknown processor".to_owned(), DeviceFacts::Unreadable { reason: format!("processors: {reason}") })
    });
    Device { id: format!("cpu:{host}"), name, facts }
}

fn processors(kernel: &Kernel) -> Result<(String, DeviceFacts), String> {
    let mut system = System::new().map_err(|problem| problem.to_string())?;
    system.refresh_cpu_list(CpuRefreshKind::nothing());
    let first = system.cpus().first().ok_or_else(|| "the kernel lists none".to_owned())?;
    let architecture = System::cpu_arch();
    let facts = CpuFacts {
        logical_cores: u32::try_from(system.cpus().len()).map_err(|problem| problem.to_string())?,
        max_clock_mhz: max_clock_mhz(kernel),
        features: features(&kernel.text("proc/cpuinfo").unwrap_or_default(), &architecture),
        architecture,
        package_energy_missing: None,
    };
    Ok((first.brand().trim().to_owned(), DeviceFacts::Cpu(facts)))
}

/// The flags that name floating-point units, of any processor of the machine.
fn features(cpuinfo: &str, architecture: &str) -> Vec<String> {
    let lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let flags = lines.filter(|(key, _)| matches!(key.trim(), "flags" | "Features"));
    let mut found: Vec<String> = flags
        .flat_map(|(_, flags)| flags.split_whitespace())
        .filter(|flag| names_floating_point(architecture, flag))
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The highest clock of any processor, where every one tells it with boost.
fn max_clock_mhz(kernel: &Kernel) -> Option<u32> {
    let folder = "sys/devices/system/cpu";
    let is_processor = |name: &String| name.strip_prefix("cpu").is_some_and(|number| number.parse::<u32>().is_ok());
    let mut highest = None;
    for name in kernel.names(folder).iter().filter(|name| is_processor(name)) {
        let driver = kernel.text(&format!("{folder}/{name}/cpufreq/scaling_driver"))?;
        if !DRIVERS_THAT_TELL_BOOST.contains(&driver.trim()) {
            return None;
        }
        let kilohertz: u32 = kernel.text(&format!("{folder}/{name}/cpufreq/cpuinfo_max_freq"))?.trim().parse().ok()?;
        highest = highest.max(Some(kilohertz.div_ceil(1000)));
    }
    highest
}

/// Nanoseconds of a duration that is a sum of processor time.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(drivers: &[(&str, &str)]) -> (tempfile::TempDir, Kernel) {
        let folder = tempfile::tempdir().unwrap();
        for (number, (driver, frequency)) in drivers.iter().enumerate() {
            let cpufreq = folder.path().join(format!("sys/devices/system/cpu/cpu{number}/cpufreq"));
            fs_err::create_dir_all(&cpufreq).unwrap();
            fs_err::write(cpufreq.join("scaling_driver"), format!("{driver}\n")).unwrap();
            fs_err::write(cpufreq.join("cpuinfo_max_freq"), format!("{frequency}\n")).unwrap();
        }
        fs_err::create_dir_all(folder.path().join("sys/devices/system/cpu/cpufreq")).unwrap();
        let kernel = Kernel::under(folder.path());
        (folder, kernel)
    }

    #[test]
    fn the_fastest_processor_counts() {
        let (_folder, kernel) = kernel(&[("intel_pstate", "5200001"), ("intel_pstate", "4100000")]);
        assert_eq!(max_clock_mhz(&kernel), Some(5201));
    }

    #[test]
    fn a_clock_that_may_leave_boost_out_is_not_believed() {
        let (_folder, mixed) = kernel(&[("intel_pstate", "5200000"), ("acpi-cpufreq", "2500000")]);
        assert_eq!(max_clock_mhz(&mixed), None);
        let (_folder, virtual_machine) = kernel(&[]);
        assert_eq!(max_clock_mhz(&virtual_machine), None);
    }

    #[test]
    fn only_flags_of_floating_point_units_are_kept() {
        let cpuinfo =
            "processor\t: 0\nflags\t\t: fpu sse2 rdtscp avx2 fma\n\nprocessor\t: 1\nflags\t\t: fpu sse2 avx2\n";
        assert_eq!(features(cpuinfo, "x86_64"), ["avx2", "fma", "sse2"]);
        assert_eq!(features("Features\t: fp asimd sha2 sve\n", "aarch64"), ["asimd", "fp", "sve"]);
    }

    #[test]
    fn this_machine_has_a_bound() {
        let device = describe(&Kernel::default());
        assert!(device.id.starts_with("cpu:"));
        let DeviceFacts::Cpu(facts) = device.facts else { panic!("a processor") };
        assert!(facts.logical_cores > 0);
        let peak = flopsmeter_core::ceiling::core_peak(&facts);
        assert!(peak.strict.is_ok(), "{peak:?}");
    }
}
