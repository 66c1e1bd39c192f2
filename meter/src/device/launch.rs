//! How many processes and nodes were launched together, as launchers tell each process in its environment.

use std::collections::{BTreeMap, BTreeSet};

use flopsmeter_core::ledger::body::LaunchSeen;

/// Launches that are told apart, and processes of one that are: of what is beyond, all are taken to be elsewhere.
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

/// All that is asked of a process's environment.
pub const VARIABLES: &[&str] = &[
    "ENVIRONMENT",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "LOCAL_SIZE",
    "RANK",
    "LOCAL_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "OMPI_COMM_WORLD_RANK",
    "MV2_COMM_WORLD_SIZE",
    "MV2_COMM_WORLD_LOCAL_SIZE",
    "MV2_COMM_WORLD_RANK",
    "PMI_SIZE",
    "PMI_LOCAL_SIZE",
    "MPI_LOCALNRANKS",
    "PMI_RANK",
    "SLURM_PROCID",
    "SLURM_NODEID",
    "SLURM_STEP_ID",
    STEP_TASKS,
    STEP_NODES,
    "SLURM_NNODES",
    "SLURM_JOB_NUM_NODES",
];

/// Tasks and nodes of a Slurm step.
const STEP_TASKS: &str = "SLURM_STEP_NUM_TASKS";
const STEP_NODES: &str = "SLURM_STEP_NUM_NODES";

/// What the environments that were read so far have told.
#[derive(Debug, Default)]
pub(crate) struct Launches {
    known: BTreeMap<Launch, Known>,
    news: BTreeMap<Launch, Known>,
    /// There were more launches than are told apart.
    is_full: bool,
}

/// A variable, and how many in all it tells of.
type Launch = (&'static str, u64);

/// What is known of a launch.
#[derive(Debug, Default)]
struct Known {
    here: Option<u64>,
    numbers: BTreeSet<u64>,
    /// The meter itself is one of its processes: the others of this node are not below it.
    is_own: bool,
}

/// What one process was told of a launch.
struct Told {
    launch: Launch,
    here: Option<u64>,
    number: Option<u64>,
}

impl Launches {
    /// What the meter's own environment tells. Where it is told a number in a launch and how many the node has, as each process is, it
    /// was started for that one and has no other below it. A number alone may be the node's, as Kubeflow's is.
    pub(crate) fn begin(variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut launches = Self::default();
        for told in told(&variable) {
            launches.known.entry(told.launch).or_default().is_own = told.number.is_some() && told.here.is_some();
            launches.take(&told, true);
        }
        launches
    }

    /// Takes what a process tells by its environment.
    pub(crate) fn look(&mut self, variable: impl Fn(&str) -> Option<String>) {
        for told in told(&variable) {
            self.take(&told, false);
        }
    }

    fn take(&mut self, told: &Told, first: bool) {
        let is_known = self.known.contains_key(&told.launch) && !first;
        if !is_known && self.known.len() >= MAXIMUM_LAUNCHES {
            self.overflow(told.launch);
            return;
        }
        let known = self.known.entry(told.launch).or_default();
        let has_room = known.numbers.len() < MAXIMUM_NUMBERS;
        let number = told.number.filter(|number| has_room && known.numbers.insert(*number));
        let here = told.here.filter(|here| !known.is_own && known.here.is_none_or(|known| known < *here));
        known.here = known.here.max(here);
        if !is_known || here.is_some() || number.is_some() {
            let news = self.news.entry(told.launch).or_default();
            news.here = news.here.max(here);
            news.numbers.extend(number);
        }
    }

    /// One without a process here stands for all that do not fit.
    fn overflow(&mut self, launch: Launch) {
        if !std::mem::replace(&mut self.is_full, true) {
            self.news.insert(launch, Known::default());
        }
    }

    /// What is new since the last time.
    pub(crate) fn take_news(&mut self) -> Vec<LaunchSeen> {
        let seen = |((variable, all), Known { here, numbers, .. }): (Launch, Known)| LaunchSeen {
            variable: variable.to_owned(),
            all,
            here,
            numbers: numbers.into_iter().collect(),
        };
        std::mem::take(&mut self.news).into_iter().map(seen).collect()
    }
}

/// What one process was told, by all launchers.
fn told(variable: &impl Fn(&str) -> Option<String>) -> Vec<Told> {
    let launchers = LAUNCHERS.iter().filter_map(|launcher| launcher.told(variable));
    launchers.chain(step(variable)).collect()
}

impl Launcher {
    fn told(&self, variable: &impl Fn(&str) -> Option<String>) -> Option<Told> {
        let read = |name: &str| number(variable, name);
        let all = read(self.all).filter(|all| *all > 1)?;
        // Of a step as large, the size was made from it, and Slurm's number is the process's.
        let is_step = read(STEP_TASKS) == Some(all);
        let number = read(self.number).or_else(|| read("SLURM_PROCID").filter(|_| is_step));
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
    let is_one_node = number(variable, STEP_NODES) == Some(1);
    (is_one_node && number(variable, STEP_TASKS) == Some(all)).then_some(all)
}

/// A Slurm step with several tasks, else with several nodes.
fn step(variable: &impl Fn(&str) -> Option<String>) -> Option<Told> {
    let Some(all) = number(variable, STEP_TASKS).filter(|_| !is_script(variable)) else {
        return nodes_of_step(variable);
    };
    let number = number(variable, "SLURM_PROCID")?;
    (all > 1).then_some(Told { launch: (STEP_TASKS, all), here: None, number: Some(number) })
}

/// The nodes of a Slurm step with several. Where the step does not tell how many it has, those of the job, unless the process is of
/// the job's script, which runs on the first of them alone.
fn nodes_of_step(variable: &impl Fn(&str) -> Option<String>) -> Option<Told> {
    variable("SLURM_PROCID")?;
    let names: &[&'static str] =
        if is_script(variable) { &[STEP_NODES] } else { &[STEP_NODES, "SLURM_NNODES", "SLURM_JOB_NUM_NODES"] };
    let (name, all) = names.iter().find_map(|name| Some((*name, number(variable, name)?)))?;
    let number = number(variable, "SLURM_NODEID");
    let here = number.is_none().then_some(1);
    (all > 1).then_some(Told { launch: (name, all), here, number })
}

/// Whether the process is of a Slurm job's script and of no step.
fn is_script(variable: &impl Fn(&str) -> Option<String>) -> bool {
    variable("ENVIRONMENT").is_some_and(|it| it == "BATCH") && variable("SLURM_STEP_ID").is_none()
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

    /// A meter below a launcher has one process of the node, whatever the node has.
    #[test]
    fn a_meter_for_one_process_has_no_other() {
        let variables = [("WORLD_SIZE", "8"), ("LOCAL_WORLD_SIZE", "4"), ("RANK", "2")];
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let mut launches = Launches::begin(find);
        launches.look(find);
        let told: Vec<String> = launches.take_news().iter().map(in_words).collect();
        assert_eq!(told, ["WORLD_SIZE=8 #2"]);
        let pod = |name: &str| find(name).filter(|_| name != "LOCAL_WORLD_SIZE");
        let mut launches = Launches::begin(pod);
        launches.look(find);
        let told: Vec<String> = launches.take_news().iter().map(in_words).collect();
        assert_eq!(told, ["WORLD_SIZE=8 here:4 #2"], "RANK is the pod's");
        let outside = |name: &str| find(name).filter(|_| name != "RANK");
        let mut launches = Launches::begin(outside);
        launches.look(find);
        let told: Vec<String> = launches.take_news().iter().map(in_words).collect();
        assert_eq!(told, ["WORLD_SIZE=8 here:4 #2"]);
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
        ] {
            assert_eq!(told(&[environment]), [expected], "{environment}");
        }
        let step = "PMI_SIZE=8 PMI_RANK=2 SLURM_PROCID=2 SLURM_STEP_NUM_NODES=1 SLURM_STEP_NUM_TASKS=8";
        assert_eq!(told(&[step]), ["PMI_SIZE=8 here:8 #2", "SLURM_STEP_NUM_TASKS=8 #2"]);
        let size = "WORLD_SIZE=8 SLURM_PROCID=5 SLURM_STEP_NUM_NODES=2 SLURM_STEP_NUM_TASKS=8";
        assert_eq!(told(&[size]), ["SLURM_STEP_NUM_TASKS=8 #5", "WORLD_SIZE=8 #5"], "made from the step's");
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
        assert_eq!(told(&many).len(), MAXIMUM_LAUNCHES + 1);
        assert_eq!(told(&many).last().unwrap(), &format!("WORLD_SIZE={}", MAXIMUM_LAUNCHES + 2), "stands for the rest");
    }
}
