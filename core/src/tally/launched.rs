//! Whether all of what was launched is on the nodes that were metered: what ran on another one is bounded by nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::body::LaunchSeen;
use crate::run::Finding;

/// Of the launchers whose processes are numbered node by node.
const NUMBERED_BY_NODES: &str = "WORLD_SIZE";

/// A variable, and how many in all it tells of.
type Launch = (String, u64);

/// What one segment was told of its launches.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Launched(BTreeMap<Launch, Here>);

/// What of a launch is on one node.
#[derive(Clone, Debug, Default, PartialEq)]
struct Here {
    told: Option<u64>,
    numbers: BTreeSet<u64>,
}

/// A machine, by its host name and its boot.
pub(super) type Node = (String, Option<String>);

/// A segment's node, and what it was told there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Site {
    pub(super) node: Node,
    pub(super) launched: Launched,
}

/// A launch that is not all on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unmetered {
    variable: String,
    all: u64,
    on_record: u64,
}

impl Launched {
    pub(super) fn see(&mut self, seen: &LaunchSeen) {
        let here = self.0.entry((seen.variable.clone(), seen.all)).or_default();
        here.told = here.told.max(seen.here);
        here.numbers.extend(&seen.numbers);
    }
}

impl Unmetered {
    pub(super) fn finding(&self) -> Finding {
        let Self { variable, all, on_record } = self;
        let next = if *on_record == 0 {
            "nothing tells which of them these are: start them with RANK or LOCAL_WORLD_SIZE, or without that variable"
        } else {
            "meter each of them, or each node's launcher, with `flopsmeter run --job ID`, the same ID for all, bring in records of other nodes \
             with `flopsmeter ledger merge`, and `flopsmeter assess` adds them up; where the others do nothing, as in an interactive shell of several \
             tasks, start it without that variable (`env -u`)"
        };
        let text = format!(
            "the job's processes were told {variable}={all}, and {on_record} of these {all} are on this record: what the others did is not bounded \
             by it, so that its hardware ceiling alone is incomplete; {next}"
        );
        Finding { code: "nodes-unmetered".to_owned(), text }
    }
}

/// Launches of which the metered nodes do not have all, by segments with the launch that each is of by its time.
pub(super) fn unmetered<'s>(sites: impl Iterator<Item = (usize, &'s Site)>) -> Vec<Unmetered> {
    let mut launches: BTreeMap<(usize, &Launch), Vec<(&Node, &Here)>> = BTreeMap::new();
    for (time, Site { node, launched }) in sites {
        for (launch, here) in &launched.0 {
            launches.entry((time, launch)).or_default().push((node, here));
        }
    }
    let short = |((_, (variable, all)), places): (&(usize, &Launch), &Vec<(&Node, &Here)>)| {
        let on_record = told(variable, places).saturating_add(numbered(places));
        (on_record < *all).then(|| Unmetered { variable: variable.clone(), all: *all, on_record })
    };
    launches.iter().filter_map(short).collect()
}

/// Of places that tell how many they have. Several meters of one node each tell of the whole node, which counts once.
fn told(variable: &str, places: &[(&Node, &Here)]) -> u64 {
    let mut nodes: BTreeMap<&Node, Vec<(u64, u64)>> = BTreeMap::new();
    let mut sum: u64 = 0;
    for (node, here) in places {
        let Some(told) = here.told else { continue };
        match here.numbers.first() {
            Some(first) => nodes.entry(node).or_default().push((*first, told)),
            // Nothing tells it from another node, as launchers would.
            None => sum = sum.saturating_add(told),
        }
    }
    nodes.into_values().map(|meters| of_machine(variable, meters)).fold(sum, u64::saturating_add)
}

/// Of the meters of one machine, by the first number that each has seen. Containers may be nodes of their own: torchrun and DeepSpeed
/// number the processes of a node one after the other, so that one further on than its node has processes is of another.
fn of_machine(variable: &str, mut meters: Vec<(u64, u64)>) -> u64 {
    meters.sort_unstable();
    if variable != NUMBERED_BY_NODES {
        return meters.iter().map(|(_, told)| *told).max().unwrap_or(0);
    }
    let (mut sum, mut next) = (0_u64, 0);
    for (first, told) in meters {
        if sum == 0 || first >= next {
            sum = sum.saturating_add(told);
            next = first.saturating_add(told);
        }
    }
    sum
}

/// Of places that do not tell: by the numbers of the processes, each once wherever it was started again.
fn numbered(places: &[(&Node, &Here)]) -> u64 {
    let untold = places.iter().filter(|(_, here)| here.told.is_none());
    let numbers: BTreeSet<u64> = untold.flat_map(|(_, here)| here.numbers.iter().copied()).collect();
    u64::try_from(numbers.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(host: &str, seen: &[(u64, Option<u64>, &[u64])]) -> Site {
        let mut launched = Launched::default();
        for (all, here, numbers) in seen {
            let variable = "WORLD_SIZE".to_owned();
            launched.see(&LaunchSeen { variable, all: *all, here: *here, numbers: numbers.to_vec() });
        }
        Site { node: (host.to_owned(), None), launched }
    }

    /// How many are on record of each launch that lacks some.
    fn lacking(sites: &[(usize, Site)]) -> Vec<u64> {
        unmetered(sites.iter().map(|(time, site)| (*time, site))).iter().map(|it| it.on_record).collect()
    }

    #[test]
    fn nodes_have_to_add_up_to_the_launch() {
        let told = |host, numbers: &[u64]| site(host, &[(16, Some(8), numbers)]);
        assert_eq!(lacking(&[(0, told("a", &[0]))]), [8]);
        assert!(lacking(&[(0, told("a", &[0])), (0, told("b", &[8]))]).is_empty());
        assert!(lacking(&[(0, told("a", &[3, 0])), (0, told("a", &[11, 8]))]).is_empty(), "two containers");
        assert!(lacking(&[(0, told("a", &[])), (0, told("a", &[]))]).is_empty(), "nothing says that they are one");
        let one_by_one: Vec<(usize, Site)> = (0..8).map(|number| (0, told("a", &[number]))).collect();
        assert_eq!(lacking(&one_by_one), [8], "a meter for each process of one node");
        assert_eq!(lacking(&[(0, told("a", &[0])), (1, told("b", &[8]))]), [8, 8], "halves of two launches");
        assert!(lacking(&[(0, site("a", &[(8, Some(8), &[0])]))]).is_empty());
    }

    #[test]
    fn meters_of_one_machine_count_once_where_numbers_go_round_the_nodes() {
        let place = |number| {
            let mut site = site("a", &[]);
            let variable = "OMPI_COMM_WORLD_SIZE".to_owned();
            site.launched.see(&LaunchSeen { variable, all: 8, here: Some(4), numbers: vec![number] });
            (0, site)
        };
        assert_eq!(lacking(&[place(0), place(2), place(4), place(6)]), [4]);
    }

    #[test]
    fn processes_are_counted_by_their_numbers_where_no_node_tells_how_many_it_has() {
        let seen = |host, numbers: &[u64]| (0, site(host, &[(4, None, numbers)]));
        assert_eq!(lacking(&[seen("a", &[0])]), [1]);
        assert!(lacking(&[seen("a", &[0, 1, 2, 3])]).is_empty());
        assert!(lacking(&[seen("a", &[0, 1]), seen("b", &[2]), seen("b", &[3])]).is_empty());
        assert_eq!(lacking(&[seen("a", &[0, 1]), seen("b", &[0, 1])]), [2]);
        assert_eq!(lacking(&[seen("a", &[])]), [0]);
    }

    #[test]
    fn what_is_told_of_a_node_holds_for_processes_that_were_not_told() {
        assert!(lacking(&[(0, site("a", &[(8, None, &[0]), (8, Some(8), &[])]))]).is_empty());
        assert_eq!(lacking(&[(0, site("a", &[(2, None, &[0]), (16, Some(8), &[])]))]), [1, 8], "two launches");
    }

    #[test]
    fn the_finding_has_the_numbers_and_the_next_step() {
        let sites = [site("a", &[(16, Some(8), &[])])];
        let Finding { code, text } = unmetered(sites.iter().map(|site| (0, site)))[0].finding();
        assert_eq!(code, "nodes-unmetered");
        assert!(text.contains("told WORLD_SIZE=16, and 8 of these 16 are on"), "{text}");
        assert!(text.contains("`flopsmeter run --job ID`") && text.contains("`flopsmeter ledger merge`"), "{text}");
    }
}
