//! To which modification a run counts, and what is said where it cannot.

use flopsmeter_core::budget::Reservation;
use flopsmeter_core::ledger::body::{BaseBound, ModificationCreated, RunAssigned};
use flopsmeter_core::ledger::{Body, modification_stream, run_stream};
use flopsmeter_core::lineage::{BaseReference, LineageProblem, MODIFICATION_SCHEME, Modification, check};
use flopsmeter_core::run::Finding;
use flopsmeter_meter::binding::bind;
use flopsmeter_meter::budget::{self, Spender};
use flopsmeter_meter::records;
use flopsmeter_meter::store::merge::assign_forks;
use flopsmeter_meter::store::{Ledger, RunRecorder, StoreProblem};

use crate::{lineage, settings};

/// A run's place in its modification.
#[derive(Default)]
pub(super) struct Membership {
    pub(super) joined: bool,
    /// The modification as it was found; nothing of it where the run did not join.
    pub(super) modification: Modification,
    pub(super) reservation: Option<Reservation>,
    pub(super) findings: Vec<Finding>,
}

/// A run that is to belong to a modification.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) run: &'a str,
    /// The job that it is a part of.
    pub(super) job: Option<&'a str>,
    /// The reservation that it is to spend.
    pub(super) wanted: Option<&'a str>,
}

/// Makes the modification where it is new and assigns the run, unless the two have different base models.
pub(super) fn join(
    recorder: &mut RunRecorder,
    slug: &str,
    base: Option<&BaseReference>,
    member: Member<'_>,
) -> Membership {
    let run = member.run;
    let Some(ledger) = recorder.ledger() else {
        let text =
            format!("run {run} could not be assigned to `{slug}` while the ledger cannot be written; assign it later");
        let findings = vec![Finding { code: "modification-unassigned".to_owned(), text }];
        return Membership { findings, ..Membership::default() };
    };
    try_join(ledger, slug, base, member).unwrap_or_else(|problem| {
        let text = format!("run {run} could not be assigned to `{slug}` ({problem}); assign it later");
        let findings = vec![Finding { code: "modification-unassigned".to_owned(), text }];
        Membership { findings, ..Membership::default() }
    })
}

fn try_join(
    ledger: &mut Ledger,
    slug: &str,
    base: Option<&BaseReference>,
    member: Member<'_>,
) -> anyhow::Result<Membership> {
    if let Some(finding) = unfollowable(ledger, slug, base)? {
        return Ok(Membership { findings: vec![finding], ..Membership::default() });
    }
    let created = Body::ModificationCreated(ModificationCreated { slug: slug.to_owned(), base: base.cloned() });
    // Looked at again as it is written: another process may have closed a circle meanwhile.
    if let Err(problem) = bind(ledger, slug, settings::now(), &created)? {
        return Ok(Membership { findings: vec![circular(&problem)], ..Membership::default() });
    }
    let mut modification = records::modification(ledger, slug)?.unwrap_or_default();
    let may_be_bound = modification.merge.is_none() && modification.closed.is_none();
    if let (Some(base), None) = (base.filter(|_| may_be_bound), &modification.base) {
        let bound = Body::BaseBound(BaseBound { base: base.clone() });
        if let Err(problem) = bind(ledger, slug, settings::now(), &bound)? {
            return Ok(Membership { findings: vec![circular(&problem)], ..Membership::default() });
        }
        // Read again: of two runs that bind it at the same time, the first one counts.
        modification = records::modification(ledger, slug)?.unwrap_or_default();
    }
    let counts_already = modification.runs.iter().any(|known| known == member.run);
    if let Some(conflict) = conflict(&modification, base).filter(|_| !counts_already) {
        return Ok(Membership { findings: vec![conflict], ..Membership::default() });
    }
    if !counts_already {
        let assigned = Body::RunAssigned(RunAssigned { run: member.run.to_owned() });
        ledger.append(&modification_stream(slug), settings::now(), assigned.kind(), &assigned.to_text()?)?;
    }
    let (reservation, mut findings) = take_reservation(ledger, &modification, member);
    // A new run has none, and no time is spent on looking.
    if !counts_already && ledger.head(&run_stream(member.run))?.is_some() {
        findings.extend(with_its_forks(ledger, slug, member.run)?);
    }
    findings.extend(after_closing(&modification, member.run));
    Ok(Membership { joined: true, modification, reservation, findings })
}

/// What is said of the forks of a run that is counted to a modification from now on: they are the same work.
fn with_its_forks(ledger: &mut Ledger, slug: &str, run: &str) -> Result<Option<Finding>, StoreProblem> {
    let forks = assign_forks(ledger, slug, run, settings::now())?;
    let text = format!("what parted from run {run} counts to `{slug}` as well: {}", forks.join(", "));
    Ok((!forks.is_empty()).then(|| Finding { code: "fork-assigned".to_owned(), text }))
}

/// What was set aside and is this run's from now on. A reservation that was named and cannot be had is a finding: the job runs, and what
/// it spends is free room's.
fn take_reservation(
    ledger: &mut Ledger,
    modification: &Modification,
    Member { run, job, wanted }: Member<'_>,
) -> (Option<Reservation>, Vec<Finding>) {
    // Most modifications have none, and a job's start writes nothing that says so.
    if modification.reservations.is_empty() && wanted.is_none() {
        return (None, Vec::new());
    }
    let cause = match budget::take(ledger, &modification.slug, Spender { run, job }, wanted, settings::now()) {
        Ok(Ok(taken)) => return (taken, Vec::new()),
        Ok(Err(problem)) => problem.to_string(),
        Err(problem) => problem.to_string(),
    };
    let text = format!("run {run} spends no reservation: {cause}");
    (None, vec![Finding { code: "reservation-not-taken".to_owned(), text }])
}

/// What has to be said of a modification that would be made from one that is not there, or from itself.
pub(crate) fn unfollowable(
    ledger: &Ledger,
    slug: &str,
    base: Option<&BaseReference>,
) -> anyhow::Result<Option<Finding>> {
    let Some(base) = base.filter(|base| base.slug().is_some()) else { return Ok(None) };
    let all = lineage::all(ledger)?;
    let known = all.get(slug).cloned().unwrap_or_default();
    let base = known.base.or_else(|| Some(base.clone()));
    let bound = Modification { slug: slug.to_owned(), base, merge: known.merge, ..Modification::default() };
    Ok(check(&bound, &all).err().map(|problem| circular(&problem)))
}

fn circular(problem: &LineageProblem) -> Finding {
    let text = format!("{problem}; the run is recorded unassigned");
    Finding { code: "modification-conflict".to_owned(), text }
}

/// A modification has one base model, and none but the runs before it was closed: what is said of a run that does not belong to it.
pub(crate) fn conflict(modification: &Modification, base: Option<&BaseReference>) -> Option<Finding> {
    if let Some(closed) = &modification.closed {
        let slug = &modification.slug;
        let text = format!(
            "modification `{slug}` was closed by {} on {}: the run is recorded unassigned; a run that goes on from it is a modification of its own, with --base {MODIFICATION_SCHEME}{slug}",
            closed.by, closed.date
        );
        return Some(Finding { code: "modification-conflict".to_owned(), text });
    }
    if let (Some(_), Some(base)) = (&modification.merge, base) {
        let text = format!(
            "modification `{}` is a merge, this run names {} as its base: the run is recorded unassigned; a run that trains the merged weights further names no --base, or is a modification of its own with --base {MODIFICATION_SCHEME}{}",
            modification.slug,
            base.label(),
            modification.slug
        );
        return Some(Finding { code: "modification-conflict".to_owned(), text });
    }
    let (theirs, ours) = modification.base.as_ref().zip(base).filter(|(theirs, ours)| !ours.is_same(theirs))?;
    let text = format!(
        "modification `{}` is bound to base model {}, this run names {}: the run is recorded unassigned; give the other \
         base its own --modification",
        modification.slug,
        theirs.label(),
        ours.label()
    );
    Some(Finding { code: "modification-conflict".to_owned(), text })
}

/// What is said of a run that goes on after its modification was closed: what it does is done to the same model, whatever was declared.
fn after_closing(modification: &Modification, run: &str) -> Option<Finding> {
    let (slug, closed) = (&modification.slug, modification.closed.as_ref()?);
    let text = format!(
        "modification `{slug}` was closed by {} on {}, and run {run}, which counts to it, goes on: what it does from now on counts to \
         `{slug}` as well, whose documents are to be made anew; training that makes another model of it is a run of its own, with \
         --base {MODIFICATION_SCHEME}{slug} and without --resume",
        closed.by, closed.date
    );
    Some(Finding { code: "modification-closed".to_owned(), text })
}
