//! How many processes and nodes were launched together, as launchers tell each process in its environment.

use std::collections::{BTreeMap, BTreeSet};

use flopsmeter_core::ledger::body::LaunchSeen;

/// Launches that are told apart, and processes of one that are: what is beyond is not on record, and so taken to be elsewhere.
const MAXIMUM_LAUNCHES: usize = 64;
const MAXIMUM_NUMBERS: usize = 65_536;

/// Variables of one launcher.
struct Launcher {
    /// How many processes there are in all.
    all: &'static str,
    /// How many of them are on this node, the first that is told.
    here: &'static [&'static str],
    /// Which one this is.
    number: &'static str,
}

const LAUNCHERS: [Launcher; 4] = [
    // torchrun; DeepSpeed's launcher calls the second one otherwise.
    Launcher { all: "WORLD_SIZE", here: &["LOCAL_WORLD_SIZE", "LOCAL_SIZE"], number: "RANK" },
    Launcher { all: "OMPI_COMM_WORLD_SIZE", here: &["OMPI_COMM_WORLD_LOCAL_SIZE"], number: "OMPI_COMM_WORLD_RANK" },
    Launcher { all: "MV2_COMM_WORLD_SIZE", here: &["MV2_COMM_WORLD_LOCAL_SIZE"], number: "MV2_COMM_WORLD_RANK" },
    Launcher { all: "PMI_SIZE", here: &["PMI_LOCAL_SIZE", "MPI_LOCALNRANKS"], number: "PMI_RANK" },
];

/// What the environments that were read so far have told.
#[derive(Debug, Default)]
pub(crate) struct Launches {
    known: BTreeMap<Launch, Known>,
    news: BTreeMap<Launch, Known>,
}

/// A variable, and how many in all it tells of.
type Launch = (&'static str, u64);

/// What is known of a launch.
#[derive(Debug, Default)]
struct Known {
    here: Option<u64>,
    numbers: BTreeSet<u64>,
}

/// What one process was told of a launch.
struct Told {
    launch: Launch,
    here: Option<u64>,
    number: Option<u64>,
}

impl Launches {
    /// Takes what a process tells by its environment.
    pub(crate) fn look(&mut self, variable: impl Fn(&str) -> Option<String>) {
        for launcher in &LAUNCHERS {
            if let Some(told) = launcher.told(&variable) {
                self.take(&told);
            }
        }
        if let Some(told) = nodes_of_step(&variable) {
            self.take(&told);
        }
    }

    fn take(&mut self, told: &Told) {
        let is_known = self.known.contains_key(&told.launch);
        if !is_known && self.known.len() >= MAXIMUM_LAUNCHES {
            return;
        }
        let known = self.known.entry(told.launch).or_default();
        let has_room = known.numbers.len() < MAXIMUM_NUMBERS;
        let number = told.number.filter(|number| has_room && known.numbers.insert(*number));
        let here = told.here.filter(|here| known.here.is_none_or(|known| known < *here));
        known.here = known.here.max(here);
        if !is_known || here.is_some() || number.is_some() {
            let news = self.news.entry(told.launch).or_default();
            news.here = news.here.max(here);
            news.numbers.extend(number);
        }
    }

    /// What is new since the last time.
    pub(crate) fn take_news(&mut self) -> Vec<LaunchSeen> {
        let seen = |((variable, all), Known { here, numbers }): (Launch, Known)| LaunchSeen {
            variable: variable.to_owned(),
            all,
            here,
            numbers: numbers.into_iter().collect(),
        };
        std::mem::take(&mut self.news).into_iter().map(seen).collect()
    }
}

impl Launcher {
    fn told(&self, variable: &impl Fn(&str) -> Option<String>) -> Option<Told> {
        let read = |name: &str| number(variable, name);
        let all = read(self.all).filter(|all| *all > 1)?;
        let number = read(self.number);
        let here = self.here.iter().find_map(|name| read(name));
        let here = here.or_else(|| all_of_one_node(variable, all)).or_else(|| {
            // Lightning starts its further processes with their place on the node alone; the first one is the script itself.
            let place = read("LOCAL_RANK").filter(|_| self.all == "WORLD_SIZE" && number.is_none());
            Some(place?.saturating_add(1))
        });
        Some(Told { launch: (self.all, all), here, number })
    }
}

/// All processes, where they are those of a Slurm step on one node.
fn all_of_one_node(variable: &impl Fn(&str) -> Option<String>, all: u64) -> Option<u64> {
    let is_one_node = number(variable, "SLURM_STEP_NUM_NODES") == Some(1);
    (is_one_node && number(variable, "SLURM_STEP_NUM_TASKS") == Some(all)).then_some(all)
}

/// The nodes of a Slurm step with several. Where the step does not tell how many it has, those of the job, unless the process is of
/// the job's script, which runs on the first of them alone.
fn nodes_of_step(variable: &impl Fn(&str) -> Option<String>) -> Option<Told> {
    variable("SLURM_PROCID")?;
    let is_script = variable("ENVIRONMENT").is_some_and(|it| it == "BATCH") && variable("SLURM_STEP_ID").is_none();
    let names: &[&'static str] = if is_script {
        &["SLURM_STEP_NUM_NODES"]
    } else {
        &["SLURM_STEP_NUM_NODES", "SLURM_NNODES", "SLURM_JOB_NUM_NODES"]
    };
    let (name, all) = names.iter().find_map(|name| Some((*name, number(variable, name)?)))?;
    let number = number(variable, "SLURM_NODEID");
    let here = number.is_none().then_some(1);
    (all > 1).then_some(Told { launch: (name, all), here, number })
}

fn number(variable: &impl Fn(&str) -> Option<String>, name: &str) -> Option<u64> {
    variable(name)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What processes with these environments tell, as `VARIABLE=all here:N #NUMBER`.
    fn told(environments: &[&str]) -> Vec<String> {
        let mut launches = Launches::default();
        for environment in environments {
            let find = |name: &str| {
                environment.split(' ').find_map(|pair| Some(pair.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
            };
            launches.look(find);
        }
        launches.take_news().iter().map(in_words).collect()
    }

    fn in_words(seen: &LaunchSeen) -> String {
        let here = seen.here.map(|here| format!(" here:{here}")).unwrap_or_default();
        let numbers: Vec<String> = seen.numbers.iter().map(|number| format!(" #{number}")).collect();
        format!("{}={}{here}{}", seen.variable, seen.all, numbers.concat())
    }

    #[test]
    fn launchers_tell_how_many_there_are_and_how_many_of_them_here() {
        for (environment, expected) in [
            ("WORLD_SIZE=16 LOCAL_WORLD_SIZE=8 RANK=3", "WORLD_SIZE=16 here:8 #3"),
            ("WORLD_SIZE=8 LOCAL_SIZE=8 RANK=3", "WORLD_SIZE=8 here:8 #3"),
            ("WORLD_SIZE=2 RANK=0", "WORLD_SIZE=2 #0"),
            ("WORLD_SIZE=2", "WORLD_SIZE=2"),
            ("WORLD_SIZE=4 LOCAL_RANK=3 NODE_RANK=0", "WORLD_SIZE=4 here:4"),
            ("WORLD_SIZE=4 RANK=3 LOCAL_RANK=3", "WORLD_SIZE=4 #3"),
            ("OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_SIZE=2", "OMPI_COMM_WORLD_SIZE=4 here:2"),
            ("PMI_SIZE=4 PMI_RANK=2 SLURM_NNODES=4", "PMI_SIZE=4 #2"),
            ("PMI_SIZE=4 PMI_RANK=2 MPI_LOCALNRANKS=2", "PMI_SIZE=4 here:2 #2"),
            (
                "PMI_SIZE=8 PMI_RANK=2 SLURM_PROCID=2 SLURM_STEP_NUM_NODES=1 SLURM_STEP_NUM_TASKS=8",
                "PMI_SIZE=8 here:8 #2",
            ),
        ] {
            assert_eq!(told(&[environment]), [expected], "{environment}");
        }
        for alone in ["WORLD_SIZE=1 RANK=0", "WORLD_SIZE=many RANK=0", "HOME=/"] {
            assert!(told(&[alone]).is_empty(), "{alone}");
        }
    }

    #[test]
    fn a_slurm_step_tells_its_nodes_and_a_batch_script_has_one() {
        for (environment, expected) in [
            ("SLURM_PROCID=1 SLURM_NODEID=1 SLURM_STEP_NUM_NODES=2 SLURM_NNODES=4", "SLURM_STEP_NUM_NODES=2 #1"),
            ("SLURM_PROCID=1 SLURM_STEP_NUM_NODES=2", "SLURM_STEP_NUM_NODES=2 here:1"),
            ("SLURM_PROCID=0 SLURM_NODEID=0 SLURM_NNODES=4", "SLURM_NNODES=4 #0"),
            ("SLURM_PROCID=0 SLURM_NODEID=0 SLURM_JOB_NUM_NODES=4", "SLURM_JOB_NUM_NODES=4 #0"),
            ("SLURM_PROCID=0 SLURM_NODEID=0 SLURM_NNODES=4 ENVIRONMENT=BATCH SLURM_STEP_ID=3", "SLURM_NNODES=4 #0"),
        ] {
            assert_eq!(told(&[environment]), [expected], "{environment}");
        }
        for alone in [
            "SLURM_PROCID=0 SLURM_NODEID=0 SLURM_STEP_NUM_NODES=1 SLURM_NNODES=4",
            "SLURM_PROCID=0 SLURM_NODEID=0 SLURM_NNODES=4 ENVIRONMENT=BATCH",
            "SLURM_NNODES=4 SLURM_JOB_NUM_NODES=4",
        ] {
            assert!(told(&[alone]).is_empty(), "{alone}");
        }
    }

    #[test]
    fn what_several_processes_tell_is_told_together_and_once() {
        let ranks = ["WORLD_SIZE=2 RANK=0", "WORLD_SIZE=2 RANK=0", "WORLD_SIZE=2 RANK=1", "WORLD_SIZE=3 RANK=1"];
        assert_eq!(told(&ranks), ["WORLD_SIZE=2 #0 #1", "WORLD_SIZE=3 #1"]);
        let node = ["WORLD_SIZE=8 RANK=0", "WORLD_SIZE=8 RANK=0 LOCAL_WORLD_SIZE=4", "WORLD_SIZE=8 LOCAL_WORLD_SIZE=4"];
        assert_eq!(told(&node), ["WORLD_SIZE=8 here:4 #0"]);
        let mut launches = Launches::default();
        let find = |name: &str| (name == "WORLD_SIZE").then(|| "2".to_owned());
        launches.look(find);
        assert_eq!(launches.take_news().len(), 1);
        launches.look(find);
        assert!(launches.take_news().is_empty());
    }

    #[test]
    fn what_is_told_without_end_is_bounded() {
        let many: Vec<String> = (2..200).map(|all| format!("WORLD_SIZE={all} RANK=0")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(told(&many).len(), MAXIMUM_LAUNCHES);
    }
}
