//! What is known of a kernel besides its types: where it was found out, and what is not known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of [`KernelFacts`] in its serialised form.
pub const VERSION: u32 = 1;

/// What is known of a kernel. Everything may be unknown; unknown is never "no".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFacts {
    /// [`VERSION`].
    pub version: u32,
    /// `uname -r`.
    pub release: Option<String>,
    /// `ID` of the distribution and its `VERSION_ID`, as in `/etc/os-release`.
    pub distribution: Option<(String, String)>,
    /// As BTFHub calls it: `x86_64`, `arm64`.
    pub arch: Option<String>,
    /// The kernel's configuration, `CONFIG_BPF_LSM` → `y`; empty values are those that are not set.
    pub config: Option<BTreeMap<String, String>>,
    /// Whether the types are the running kernel's own (`/sys/kernel/btf/vmlinux`), which fentry and the like need.
    pub own_btf: Answer,
    /// What was tried out on the running kernel.
    pub features: BTreeMap<Feature, Answer>,
    /// Helpers that were tried out, by program type (without `BPF_PROG_TYPE_`) and number.
    pub helpers: BTreeMap<String, BTreeMap<u32, Answer>>,
    /// Functions that can be a kprobe's target (those of `/proc/kallsyms`, less the kprobe
    /// blacklist), where both were read.
    pub kprobe_functions: Option<std::collections::BTreeSet<String>>,
    /// The functions that were looked for among them, where it was not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kprobe_functions_asked: Option<std::collections::BTreeSet<String>>,
    /// Tracepoints, `category/name`, where they were read from tracefs.
    pub tracepoints: Option<std::collections::BTreeSet<String>>,
    /// What the process may do.
    pub security: Security,
    /// The kernel's own types: raw BTF, compressed by zlib, in base64. For plans that are made elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub btf: Option<String>,
}

/// Whether something is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is.
    Yes,
    /// It is not, and how that shows.
    No(String),
    /// Nobody looked, or it could not be told: why.
    Unknown(String),
    /// Nobody looked.
    #[default]
    NotAsked,
}

/// A feature that no enumerator or function alone tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Feature {
    /// Global variables (Linux 5.2).
    GlobalData,
    /// Kprobes by `perf_event_open`.
    Kprobe,
    /// Many kprobes at once (Linux 5.18).
    KprobeMulti,
    /// Uprobes.
    Uprobe,
    /// Many uprobes at once (Linux 6.6).
    UprobeMulti,
    /// Programs at the entry or return of kernel functions (fentry, fexit).
    Fentry,
    /// Programs on hooks of the security modules, and `bpf` among these.
    BpfLsm,
    /// The file system that tells the numbers of tracepoints.
    Tracefs,
    /// The unified hierarchy of control groups, mounted.
    ControlGroups,
    /// Attachments as file descriptors (Linux 5.7).
    BpfLink,
    /// A value with each attachment (Linux 5.15).
    BpfCookie,
    /// The BPF ring buffer (Linux 5.8).
    RingBuffer,
    /// Storage of a socket in tracing programs (Linux 5.11).
    SkStorageInTracing,
    /// Helpers that give what is of the kernel's own types (`bpf_skc_to_tcp_sock()`): tried out where there is no file of these, for
    /// they are in the kernel's image.
    TypedHelpers,
}

impl Feature {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Feature::GlobalData => "global variables",
            Feature::Kprobe => "kprobes",
            Feature::KprobeMulti => "many kprobes at once",
            Feature::Uprobe => "uprobes",
            Feature::UprobeMulti => "many uprobes at once",
            Feature::Fentry => "programs at the entry and return of kernel functions",
            Feature::BpfLsm => "programs on hooks of the security modules",
            Feature::Tracefs => "tracefs",
            Feature::ControlGroups => "control groups of version 2",
            Feature::BpfLink => "attachments as file descriptors",
            Feature::BpfCookie => "values with attachments",
            Feature::RingBuffer => "the BPF ring buffer",
            Feature::SkStorageInTracing => "storage of sockets in tracing programs",
            Feature::TypedHelpers => "helpers that give what is of the kernel's own types",
        }
    }
}

/// What the process may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// Of the capabilities that BPF asks for (`CAP_BPF`, `CAP_PERFMON`, `CAP_NET_ADMIN`, `CAP_SYS_ADMIN`), those that the
    /// process has.
    pub capabilities: Option<Vec<String>>,
    /// The level of `/sys/kernel/security/lockdown`.
    pub lockdown: Option<Lockdown>,
    /// `kernel.kptr_restrict`.
    pub kptr_restrict: Option<u8>,
    /// `kernel.unprivileged_bpf_disabled`.
    pub unprivileged_bpf_disabled: Option<u8>,
}

/// How far the kernel protects itself from root (`Documentation/admin-guide/kernel-parameters.txt`, `lockdown=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lockdown {
    /// Not at all.
    None,
    /// It cannot be changed.
    Integrity,
    /// And not be read: no `bpf_probe_read_kernel`.
    Confidentiality,
}

impl Answer {
    /// Of several answers to one question, that of the best source: the first that knows.
    pub fn or(self, other: impl FnOnce() -> Answer) -> Answer {
        match self {
            Answer::NotAsked => other(),
            known @ (Answer::Yes | Answer::No(_)) => known,
            Answer::Unknown(why) => match other() {
                known @ (Answer::Yes | Answer::No(_)) => known,
                _ => Answer::Unknown(why),
            },
        }
    }
}

impl KernelFacts {
    /// Nothing is known.
    pub fn unknown() -> KernelFacts {
        KernelFacts { version: VERSION, ..KernelFacts::default() }
    }

    /// What was found when a feature was tried out.
    pub fn feature(&self, feature: Feature) -> Answer {
        self.features.get(&feature).cloned().unwrap_or_default()
    }

    /// Major and minor version of the release.
    pub fn kernel_version(&self) -> Option<(u32, u32)> {
        let mut parts = self.release.as_deref()?.split(['.', '-', '+']);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// Whether a function can be a kprobe's target, where that was looked at.
    pub fn kprobe_function(&self, name: &str) -> Option<bool> {
        let functions = self.kprobe_functions.as_ref()?;
        let was_asked = self.kprobe_functions_asked.as_ref().is_none_or(|asked| asked.contains(name));
        was_asked.then(|| functions.contains(name))
    }

    /// A value of the configuration: `Some(None)` where it is not set, `None` where the configuration is not known.
    pub fn config(&self, name: &str) -> Option<Option<&str>> {
        let config = self.config.as_ref()?;
        Some(config.get(name).map(String::as_str).filter(|value| !value.is_empty() && *value != "n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_survive_being_written() {
        let mut facts = KernelFacts::unknown();
        facts.release = Some("6.1.0-56-amd64".to_owned());
        facts.features.insert(Feature::Fentry, Answer::No("EPERM".to_owned()));
        facts.helpers.entry("KPROBE".to_owned()).or_default().insert(4, Answer::Yes);
        facts.security.lockdown = Some(Lockdown::Integrity);
        let text = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<KernelFacts>(&text).unwrap(), facts);
        assert_eq!(facts.kernel_version(), Some((6, 1)));
    }

    #[test]
    fn the_best_source_that_knows_answers() {
        let (no, why) = (Answer::No("n".to_owned()), Answer::Unknown("w".to_owned()));
        assert_eq!(Answer::NotAsked.or(|| no.clone()), no);
        assert_eq!(Answer::Yes.or(|| no.clone()), Answer::Yes);
        assert_eq!(why.clone().or(|| no.clone()), no);
        assert_eq!(why.clone().or(|| Answer::NotAsked), why);
    }
}
