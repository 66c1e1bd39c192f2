//! Energy of the processor packages, from the kernel's RAPL counters (`/sys/class/powercap/intel-rapl:N`, which AMD's
//! processors use as well).
//!
//! A package's counter covers everything that runs on it, not only the job. Since 2020 (CVE-2020-8694) only root may read it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Kernel;
use crate::clock::monotonic;

/// Watts that no package draws: twice the highest thermal design power of those that are sold (500 W: EPYC 9965, Xeon 6980P).
const MOST_WATTS: u128 = 1000;

const FOLDER: &str = "sys/class/powercap";

/// The packages' counters, added up from the first reading on.
#[derive(Debug)]
pub struct PackageEnergy {
    kernel: Kernel,
    /// Folder of each package and its last value, in microjoules, with its time.
    packages: BTreeMap<String, (u64, Instant)>,
    microjoules: u64,
}

impl PackageEnergy {
    /// Finds the packages and reads each for the first time; the reason if there are none or if one of them cannot be read.
    pub fn begin(kernel: &Kernel) -> Result<Self, String> {
        let folders = packages(kernel);
        if folders.is_empty() {
            return Err(format!("the kernel shows no package in /{FOLDER}, as in most virtual machines"));
        }
        let now = monotonic();
        let read = |folder: String| match counter(kernel, &folder) {
            Ok(value) => Ok((folder, (value, now))),
            Err(problem) => Err(format!("{problem}; only root may read it unless an administrator has opened it")),
        };
        let packages = folders.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { kernel: kernel.clone(), packages, microjoules: 0 })
    }

    /// Microjoules of all packages since [`PackageEnergy::begin`]; `None` if one of them cannot be read any more, or if it is not
    /// certain what its counter rose by since it was last read: then this is not in any later figure either.
    pub fn read(&mut self) -> Option<u64> {
        self.read_at(monotonic())
    }

    fn read_at(&mut self, now: Instant) -> Option<u64> {
        let mut is_certain = true;
        for (folder, (last, read)) in &mut self.packages {
            let value = counter(&self.kernel, folder).ok()?;
            let rise = risen(*last, value, now.saturating_duration_since(*read), range(&self.kernel, folder));
            is_certain &= rise.is_some();
            self.microjoules = self.microjoules.saturating_add(rise.unwrap_or(0));
            (*last, *read) = (value, now);
        }
        is_certain.then_some(self.microjoules)
    }
}

/// Whole packages: neither their parts (`intel-rapl:0:0`) nor the platform (`psys`), which would be counted twice.
fn packages(kernel: &Kernel) -> Vec<String> {
    let is_domain = |name: &String| name.strip_prefix("intel-rapl:").is_some_and(|rest| rest.parse::<u32>().is_ok());
    let folders = kernel.names(FOLDER).into_iter().filter(is_domain).map(|name| format!("{FOLDER}/{name}"));
    let is_package =
        |folder: &String| kernel.text(&format!("{folder}/name")).is_some_and(|name| name.starts_with("package"));
    folders.filter(is_package).collect()
}

fn counter(kernel: &Kernel, folder: &str) -> Result<u64, String> {
    let file = format!("{folder}/energy_uj");
    let text = fs_err::read_to_string(kernel.path(&file)).map_err(|problem| problem.to_string())?;
    text.trim().parse().map_err(|_| format!("/{file} holds no whole number"))
}

fn range(kernel: &Kernel, folder: &str) -> Option<u64> {
    kernel.text(&format!("{folder}/max_energy_range_uj"))?.trim().parse().ok()
}

/// A counter that fell went over its end, once if it was read soon enough. `None` if it may have gone over it more than once (some
/// go round in a minute at full load), or fell and its end is not told or lies below what was read.
fn risen(last: u64, now: u64, since: Duration, range: Option<u64>) -> Option<u64> {
    // Watts times microseconds are microjoules.
    let goes_round = |range: u64| since.as_micros().saturating_mul(MOST_WATTS) >= u128::from(range);
    if range.is_some_and(goes_round) {
        return None;
    }
    let over_the_end = || range?.checked_sub(last)?.checked_add(now);
    now.checked_sub(last).or_else(over_the_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new(domains: &[(&str, &str)]) -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            fs_err::create_dir_all(machine.0.path().join(FOLDER).join("intel-rapl")).unwrap();
            for (domain, name) in domains {
                machine.write(domain, "name", &format!("{name}\n"));
                machine.write(domain, "max_energy_range_uj", "65532610987\n");
                machine.write(domain, "energy_uj", "65532610887\n");
            }
            machine
        }

        fn write(&self, domain: &str, file: &str, text: &str) {
            let folder = self.0.path().join(FOLDER).join(domain);
            fs_err::create_dir_all(&folder).unwrap();
            fs_err::write(folder.join(file), text).unwrap();
        }

        fn begin(&self) -> Result<PackageEnergy, String> {
            PackageEnergy::begin(&Kernel::under(self.0.path()))
        }
    }

    #[test]
    fn packages_are_added_up_and_nothing_else() {
        let machine = Machine::new(&[
            ("intel-rapl:0", "package-0"),
            ("intel-rapl:0:0", "core"),
            ("intel-rapl:1", "package-1"),
            ("intel-rapl:2", "psys"),
            ("intel-rapl-mmio:0", "package-0"),
        ]);
        let mut energy = machine.begin().unwrap();
        assert_eq!(energy.read(), Some(0));
        for domain in ["intel-rapl:0", "intel-rapl:0:0", "intel-rapl:1", "intel-rapl:2", "intel-rapl-mmio:0"] {
            machine.write(domain, "energy_uj", "65532610937\n");
        }
        assert_eq!(energy.read(), Some(100));
    }

    #[test]
    fn a_counter_goes_over_its_end() {
        let machine = Machine::new(&[("intel-rapl:0", "package-0")]);
        let mut energy = machine.begin().unwrap();
        machine.write("intel-rapl:0", "energy_uj", "30\n");
        assert_eq!(energy.read(), Some(130));
        // Over it once more, but it is not told where the end is: what was counted until then is lost, and that is said.
        fs_err::remove_file(machine.0.path().join(FOLDER).join("intel-rapl:0/max_energy_range_uj")).unwrap();
        machine.write("intel-rapl:0", "energy_uj", "10\n");
        assert_eq!(energy.read(), None);
        machine.write("intel-rapl:0", "energy_uj", "25\n");
        assert_eq!(energy.read(), Some(145));
    }

    /// At a kilowatt this counter goes round in 65 s: whoever was not let run for longer does not know how often it did.
    #[test]
    fn a_counter_that_may_have_gone_round_twice_has_measured_nothing() {
        let machine = Machine::new(&[("intel-rapl:0", "package-0"), ("intel-rapl:1", "package-1")]);
        let mut energy = machine.begin().unwrap();
        let start = monotonic();
        machine.write("intel-rapl:0", "energy_uj", "65532610987\n");
        assert_eq!(energy.read_at(start + Duration::from_secs(30)), Some(100));
        // Risen or fallen, it is the same.
        for (seconds, counter) in [(3600, "65532610987"), (7200, "500")] {
            machine.write("intel-rapl:0", "energy_uj", counter);
            assert_eq!(energy.read_at(start + Duration::from_secs(seconds)), None, "{counter}");
        }
        machine.write("intel-rapl:0", "energy_uj", "700\n");
        assert_eq!(energy.read_at(start + Duration::from_secs(7201)), Some(300));
    }

    #[test]
    fn what_cannot_be_read_has_a_reason() {
        assert!(Machine::new(&[]).begin().unwrap_err().contains("shows no package"));
        assert!(Machine::new(&[("intel-rapl:0", "psys")]).begin().unwrap_err().contains("shows no package"));
        let machine = Machine::new(&[("intel-rapl:0", "package-0")]);
        machine.write("intel-rapl:0", "energy_uj", "-\n");
        assert!(machine.begin().unwrap_err().contains("energy_uj holds no whole number"));
        fs_err::remove_file(machine.0.path().join(FOLDER).join("intel-rapl:0/energy_uj")).unwrap();
        assert!(machine.begin().unwrap_err().contains("only root may read it"));
    }

    #[test]
    fn a_package_that_goes_away_ends_the_figure() {
        let machine = Machine::new(&[("intel-rapl:0", "package-0")]);
        let mut energy = machine.begin().unwrap();
        fs_err::remove_dir_all(machine.0.path().join(FOLDER).join("intel-rapl:0")).unwrap();
        assert_eq!(energy.read(), None);
    }
}
