//! Why the kernel refuses: what a process may not do, what a locked-down kernel forbids, and what it does not have are three
//! things, of which two have one error number.

use std::fmt;

use plan::{KernelFacts, Lockdown};

/// Why the kernel refuses something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The process lacks these capabilities.
    Capabilities(Vec<&'static str>),
    /// The kernel is locked down so far (`lockdown=`, Secure Boot).
    Lockdown(Lockdown),
    /// Maps are charged to what the process may lock in memory (before Linux 5.11), which is so many bytes and cannot be raised.
    MemoryLimit(u64),
    /// The process has the rights; a seccomp filter, a security module or the machine's owner forbids it.
    Policy,
    /// The kernel does not have it.
    NotSupported,
    /// Something else.
    Other,
}

/// `include/linux/errno.h`; not known to user space, and returned to it all the same.
const ENOTSUPP: i32 = 524;
/// `include/uapi/asm-generic/errno*.h`
const EPERM: i32 = 1;
const EACCES: i32 = 13;
const ENOSYS: i32 = 38;
const EOPNOTSUPP: i32 = 95;

impl Cause {
    /// Why, by the error number and what is known of the kernel and the process.
    pub fn of(errno: i32, facts: &KernelFacts) -> Cause {
        match errno {
            ENOTSUPP | ENOSYS | EOPNOTSUPP => return Cause::NotSupported,
            EPERM | EACCES => {}
            _ => return Cause::Other,
        }
        let lacks = lacking(facts);
        if !lacks.is_empty() {
            return Cause::Capabilities(lacks);
        }
        if let Some(level @ (Lockdown::Integrity | Lockdown::Confidentiality)) = facts.security.lockdown {
            return Cause::Lockdown(level);
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
        match (limit, facts.kernel_version()) {
            (Some(bytes), Some(version)) if version < (5, 11) => Cause::MemoryLimit(bytes),
            _ => Cause::Policy,
        }
    }
}

/// Those of the capabilities to load any BPF that the process does not have. `CAP_SYS_ADMIN` holds them all, and before
/// Linux 5.8 it alone does.
pub(crate) fn lacking(facts: &KernelFacts) -> Vec<&'static str> {
    let Some(have) = &facts.security.capabilities else { return Vec::new() };
    let has = |name: &str| have.iter().any(|have| have == name);
    if has("CAP_SYS_ADMIN") {
        return Vec::new();
    }
    match facts.kernel_version() {
        Some(version) if version < (5, 8) => vec!["CAP_SYS_ADMIN"],
        _ => ["CAP_BPF", "CAP_PERFMON"].into_iter().filter(|name| !has(name)).collect(),
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Capabilities(lacks) => {
                write!(f, "the process may not load BPF programs: run as root, or with {}", lacks.join(" and "))
            }
            Cause::Lockdown(Lockdown::Confidentiality) => {
                f.write_str("the kernel is locked down (confidentiality): programs may not read its memory")
            }
            Cause::Lockdown(_) => f.write_str("the kernel is locked down (integrity)"),
            Cause::MemoryLimit(bytes) => write!(
                f,
                "maps are charged to RLIMIT_MEMLOCK, which is {bytes} bytes and cannot be raised: raise it for the process \
                 (ulimit -l, LimitMEMLOCK=), or make the maps smaller"
            ),
            Cause::Policy => f.write_str(
                "the process has the rights for it: a seccomp filter, a security module or the machine's owner forbids it",
            ),
            Cause::NotSupported => f.write_str("the kernel does not have it"),
            Cause::Other => f.write_str("the kernel refuses it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(release: &str, capabilities: &[&str], lockdown: Lockdown) -> KernelFacts {
        let mut facts = KernelFacts::unknown();
        facts.release = Some(release.to_owned());
        facts.security.capabilities = Some(capabilities.iter().map(|name| (*name).to_owned()).collect());
        facts.security.lockdown = Some(lockdown);
        facts
    }

    #[test]
    fn one_error_number_has_several_causes() {
        let root = facts("6.1.0", &["CAP_SYS_ADMIN"], Lockdown::None);
        assert_eq!(Cause::of(EPERM, &root), Cause::Policy);
        assert_eq!(Cause::of(ENOTSUPP, &root), Cause::NotSupported);
        assert_eq!(Cause::of(22, &root), Cause::Other);
        let half = facts("6.1.0", &["CAP_BPF"], Lockdown::None);
        assert_eq!(Cause::of(EPERM, &half), Cause::Capabilities(vec!["CAP_PERFMON"]));
        let nobody = facts("5.4.0", &["CAP_BPF"], Lockdown::Confidentiality);
        assert_eq!(Cause::of(EPERM, &nobody), Cause::Capabilities(vec!["CAP_SYS_ADMIN"]));
        let locked = facts("6.1.0", &["CAP_SYS_ADMIN"], Lockdown::Confidentiality);
        assert_eq!(Cause::of(EPERM, &locked), Cause::Lockdown(Lockdown::Confidentiality));
    }
}
