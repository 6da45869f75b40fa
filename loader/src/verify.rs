//! A plan held against what the kernel does.

use btf::object_file::ObjectFile;
use plan::{Feature, Hints, KernelFacts, Need, Plan, ProgramPlan, Status};

use crate::cause::Cause;
use crate::choose::Types;
use crate::open::Failed;
use crate::session::{Error, Options, Prepared, errno, refusal, warnings};
use crate::words;

/// What a program was predicted to do, and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Its name.
    pub program: String,
    /// Whether it could work, by the plan.
    pub predicted: Status,
    /// All that speaks against it is that the kernel would take it and it would do something else than it was written for:
    /// read what is not there, or never run.
    pub silently: bool,
    /// What was tried that failed, and the kernel's words; `None` where it was loaded and, as far as its section says what
    /// to, attached.
    pub refused: Option<(&'static str, String)>,
}

impl Observed {
    /// Whether the kernel did otherwise than the plan said. What the plan did not know cannot differ.
    pub fn differs(&self) -> bool {
        match self.predicted {
            Status::Met => self.refused.is_some(),
            Status::Unmet => self.refused.is_none() && !self.silently,
            Status::Unknown => false,
        }
    }
}

/// Loads and attaches each program of an object by itself, also those that the plan has off, to hold the plan against what
/// the kernel does. Nothing stays attached.
///
/// # Errors
/// See [`Error`]: the object or the types cannot be read.
pub fn verify(
    name: &str,
    bytes: &[u8],
    facts: &KernelFacts,
    types: Option<&Types>,
) -> Result<(Plan, Vec<Observed>), Error> {
    let object = ObjectFile::parse(name, bytes).map_err(|source| Error::Object { name: name.to_owned(), source })?;
    let options = Options::default();
    let prepared = Prepared::new(name, bytes, &object, types, &options)?;
    let hints = Hints { no_types: types.is_none(), ..Hints::default() };
    let plan = plan::plan(&object, &prepared.kernel(facts), &hints);
    prepared.opens(&plan)?;
    let one = |program: &ProgramPlan| {
        let mut alone = plan.clone();
        alone.programs.iter_mut().for_each(|other| other.enabled = other.name == program.name);
        // its maps may be of no use to the others
        alone.maps.iter_mut().for_each(|map| map.enabled = map.requirement.status != Status::Unmet);
        let (result, said) = words::listen(|| prepared.attempt(&alone));
        let unresolved = prepared.unresolved.iter().find(|refused| refused.program == program.name);
        let refused = match result {
            Ok(_) => unresolved.map(|refused| (refused.stage, refused.why.clone())),
            Err(Failed::Program { stage, why, .. }) => Some((stage, format!("{why}{}", warnings(&said)))),
            Err(Failed::Object(error)) => {
                let cause = Cause::of(errno(&error), facts);
                let why = match cause {
                    // libbpf would have one look at the kernel's configuration
                    Cause::Capabilities(_) => refusal(&cause, &error, &said),
                    _ => format!("{error}{}", warnings(&said)),
                };
                Some(("load", why))
            }
        };
        let unmet = program.requirements.iter().filter(|requirement| requirement.status == Status::Unmet);
        let silently = is_silent(&unmet.map(|requirement| &requirement.need).collect::<Vec<_>>());
        Observed { program: program.name.clone(), predicted: program.status, silently, refused }
    };
    let observed = plan.programs.iter().map(one).collect();
    Ok((plan, observed))
}

/// Whether the kernel may take a program with these needs unmet, which would then do something else. Without types it is one whose
/// questions are all answered with no, also those that guard what else it lacks.
fn is_silent(unmet: &[&Need]) -> bool {
    let one = |need: &&Need| matches!(need, Need::Argument { .. } | Need::Feature { feature: Feature::BpfLsm });
    unmet.iter().any(|need| matches!(need, Need::Types)) || (!unmet.is_empty() && unmet.iter().all(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Debian's 6.1.0-50-686-pae has no BTF, and took eight programs of pingtrace and tcprt without any.
    #[test]
    fn without_types_a_program_may_be_taken_and_do_something_else() {
        let helper = Need::Helper { number: 137, name: Some("bpf_skc_to_tcp_sock".to_owned()) };
        let argument = Need::Argument { function: "f".to_owned(), number: 1, structure: "struct sock *".to_owned() };
        let check = |unmet: &[&Need], expected| assert_eq!(is_silent(unmet), expected, "{unmet:?}");
        check(&[&Need::Types], true);
        check(&[&helper, &Need::Types], true);
        check(&[&argument], true);
        check(&[&argument, &helper], false);
        check(&[&helper], false);
        check(&[], false);
    }
}
