//! What the process may do, before the kernel says no with less words.

use anyhow::{Result, bail};

/// Bits of capabilities (`include/uapi/linux/capability.h`).
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// # Errors
/// The process may not do what is needed: which capability it lacks, and how it gets it.
pub(crate) fn check() -> Result<()> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    match missing(&status, &release) {
        Some(missing) => bail!("{missing}"),
        None => Ok(()),
    }
}

fn missing(status: &str, release: &str) -> Option<String> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    // who cannot tell lets the kernel say it
    let effective = u64::from_str_radix(effective?.trim(), 16).ok()?;
    let has = |capability: u32| effective & (1 << capability) != 0;
    if has(CAP_SYS_ADMIN) {
        return None;
    }
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    // 5.8, a17b53c4a4b5 ("bpf, capability: Introduce CAP_BPF")
    if version < (5, 8) {
        return Some(format!(
            "CAP_SYS_ADMIN is needed on Linux {release}, and is missing: run it as root (sudo tcprt …)"
        ));
    }
    let needed = [("CAP_BPF", CAP_BPF), ("CAP_PERFMON", CAP_PERFMON), ("CAP_NET_ADMIN", CAP_NET_ADMIN)];
    let lacking: Vec<&str> = needed.iter().filter(|(_, bit)| !has(*bit)).map(|(name, _)| *name).collect();
    (!lacking.is_empty()).then(|| {
        let (names, verb) = (lacking.join(" and "), if lacking.len() == 1 { "is" } else { "are" });
        format!(
            "{names} {verb} missing: run it as root (sudo tcprt …), or give the program what it needs \
             (setcap cap_bpf,cap_perfmon,cap_net_admin+ep …)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(effective: u64, release: &str, expected: Option<&str>) {
        let status = format!("Name:\ttcprt\nCapEff:\t{effective:016x}\n");
        let told = missing(&status, release);
        let told = told.as_deref().map(|told| told.split(':').next().unwrap());
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_missing_is_named() {
        let three = 1 << CAP_BPF | 1 << CAP_PERFMON | 1 << CAP_NET_ADMIN;
        check(three, "6.1.0-56-amd64", None);
        check(1 << CAP_SYS_ADMIN, "4.19.0", None);
        check(three, "5.7.1", Some("CAP_SYS_ADMIN is needed on Linux 5.7.1, and is missing"));
        check(three & !(1 << CAP_PERFMON), "5.8.0", Some("CAP_PERFMON is missing"));
        check(0, "6.1.0", Some("CAP_BPF and CAP_PERFMON and CAP_NET_ADMIN are missing"));
        assert_eq!(missing("", "6.1"), None);
    }
}
