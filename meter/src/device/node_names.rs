//! What a device node is called, whatever the path by which it was opened: under another root folder, in another mount namespace
//! or container, a path says nothing, and the number of the device says it all.

use std::collections::BTreeMap;

use super::Kernel;

/// Given to NVIDIA's GPUs for good (`Documentation/admin-guide/devices.txt` of the kernel). They are not in `/sys/dev`.
const NVIDIA_MAJOR: u32 = 195;
const NVIDIA_CONTROL: u32 = 255;
const NVIDIA_MODESET: u32 = 254;

/// Numbers that are remembered; a job has a few dozen devices open.
const MAXIMUM_NUMBERS: usize = 4096;

/// Number of a character device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceNumber {
    /// Which driver's it is.
    pub major: u32,
    /// Which of the driver's devices it is.
    pub minor: u32,
}

/// The kernel's names of devices, each asked for once.
#[derive(Debug, Default)]
pub struct NodeNames {
    known: BTreeMap<DeviceNumber, Option<String>>,
    /// `/proc/devices`, once it was needed.
    majors: Option<Vec<(u32, String)>>,
}

impl NodeNames {
    /// Names under `/dev` of the device with this number that was opened by `path`: the kernel's own, and the one that whoever made
    /// the node gave it, in which folder ever. NVIDIA's are told by their numbers alone, which say which GPU it is.
    pub fn of(&mut self, kernel: &Kernel, number: DeviceNumber, path: &str) -> Vec<String> {
        let known = self.kernel_name(kernel, number);
        let given = given_name(path).filter(|given| number.major != NVIDIA_MAJOR && known.as_ref() != Some(given));
        known.into_iter().chain(given).collect()
    }

    /// Forgets what is known: numbers are given to other devices as drivers come and go.
    pub fn renew(&mut self) {
        *self = Self::default();
    }

    fn kernel_name(&mut self, kernel: &Kernel, number: DeviceNumber) -> Option<String> {
        if let Some(known) = self.known.get(&number) {
            return known.clone();
        }
        let name = listed(kernel, number).or_else(|| self.by_major(kernel, number));
        if self.known.len() < MAXIMUM_NUMBERS {
            self.known.insert(number, name.clone());
        }
        name
    }

    /// For drivers that tell the kernel their major number alone: `/dev/neuron3` for the third of `neuron`.
    fn by_major(&mut self, kernel: &Kernel, number: DeviceNumber) -> Option<String> {
        let DeviceNumber { major, minor } = number;
        match (major, minor) {
            (NVIDIA_MAJOR, NVIDIA_CONTROL) => return Some("/dev/nvidiactl".to_owned()),
            (NVIDIA_MAJOR, NVIDIA_MODESET) => return Some("/dev/nvidia-modeset".to_owned()),
            (NVIDIA_MAJOR, _) => return Some(format!("/dev/nvidia{minor}")),
            _ => {}
        }
        let majors = self.majors.get_or_insert_with(|| majors(kernel));
        let (_, driver) = majors.iter().find(|(known, _)| *known == major)?;
        if driver == "nvidia-caps" {
            return Some(format!("/dev/nvidia-caps/nvidia-cap{minor}"));
        }
        Some(format!("/dev/{driver}{minor}"))
    }
}

/// As the kernel's list of devices has it.
fn listed(kernel: &Kernel, DeviceNumber { major, minor }: DeviceNumber) -> Option<String> {
    let told = kernel.text(&format!("sys/dev/char/{major}:{minor}/uevent"))?;
    told.lines().find_map(|line| line.strip_prefix("DEVNAME=")).map(|name| format!("/dev/{name}"))
}

/// The name in the innermost `dev` folder of a path: `/x/dev/kfd` is `/dev/kfd` of whoever lives under `/x`.
pub fn given_name(path: &str) -> Option<String> {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let (_, name) = path.rsplit_once("/dev/")?;
    Some(format!("/dev/{name}"))
}

/// Drivers of character devices and their major numbers.
pub fn majors(kernel: &Kernel) -> Vec<(u32, String)> {
    let text = kernel.text("proc/devices").unwrap_or_default();
    let lines = text.lines().take_while(|line| !line.starts_with("Block"));
    let numbered = lines.filter_map(|line| line.trim().split_once(' '));
    numbered.filter_map(|(major, name)| Some((major.parse().ok()?, name.trim().to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(folder: &tempfile::TempDir, major: u32, minor: u32, name: &str) -> Kernel {
        let device = folder.path().join(format!("sys/dev/char/{major}:{minor}"));
        fs_err::create_dir_all(&device).unwrap();
        fs_err::write(device.join("uevent"), format!("MAJOR={major}\nMINOR={minor}\nDEVNAME={name}\nDEVMODE=0666\n"))
            .unwrap();
        Kernel::under(folder.path())
    }

    fn names(kernel: &Kernel, major: u32, minor: u32, path: &str) -> Vec<String> {
        NodeNames::default().of(kernel, DeviceNumber { major, minor }, path)
    }

    #[test]
    fn a_device_is_named_by_its_number_and_by_who_made_its_node() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = kernel(&folder, 226, 128, "dri/renderD128");
        assert_eq!(names(&kernel, 226, 128, "/x/dev/dri/renderD128"), ["/dev/dri/renderD128"]);
        assert_eq!(names(&kernel, 226, 128, "/tmp/node (deleted)"), ["/dev/dri/renderD128"]);
        assert_eq!(names(&kernel, 226, 128, "/dev/gpu"), ["/dev/dri/renderD128", "/dev/gpu"]);
        assert_eq!(names(&kernel, 226, 129, "/x/dev/kfd (deleted)"), ["/dev/kfd"], "nobody lists it");
        assert_eq!(names(&kernel, 226, 129, "/tmp/node"), <[&str; 0]>::default());
    }

    #[test]
    fn drivers_that_list_no_device_are_told_by_their_major_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = Kernel::under(folder.path());
        fs_err::create_dir_all(folder.path().join("proc")).unwrap();
        let devices = "Character devices:\n195 nvidia\n240 neuron\n508 nvidia-caps\n\nBlock devices:\n241 neuron\n";
        fs_err::write(folder.path().join("proc/devices"), devices).unwrap();
        assert_eq!(names(&kernel, 195, 3, "/x/dev/nvidia0"), ["/dev/nvidia3"]);
        assert_eq!(names(&kernel, 195, 255, "/c"), ["/dev/nvidiactl"]);
        assert_eq!(names(&kernel, 195, 254, "/m"), ["/dev/nvidia-modeset"]);
        assert_eq!(names(&kernel, 508, 21, "/cap"), ["/dev/nvidia-caps/nvidia-cap21"]);
        assert_eq!(names(&kernel, 240, 3, "/n"), ["/dev/neuron3"]);
        assert_eq!(names(&kernel, 241, 3, "/n"), <[&str; 0]>::default(), "a disk is none");
    }

    #[test]
    fn a_number_that_another_device_has_got_is_named_anew_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let known = kernel(&folder, 10, 120, "fuse");
        let (mut names, number) = (NodeNames::default(), DeviceNumber { major: 10, minor: 120 });
        assert_eq!(names.of(&known, number, "/n"), ["/dev/fuse"]);
        let known = kernel(&folder, 10, 120, "kfd");
        assert_eq!(names.of(&known, number, "/n"), ["/dev/fuse"], "it is read once");
        names.renew();
        assert_eq!(names.of(&known, number, "/n"), ["/dev/kfd"]);
    }
}
