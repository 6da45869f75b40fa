//! Containers, as the paths of control groups name them.
//!
//! | path | of |
//! |---|---|
//! | `…/docker-<id>.scope`, `…/docker/<id>` | docker |
//! | `…/cri-containerd-<id>.scope`, `…/cri-containerd:<id>`, `…:cri-containerd:<id>` | containerd |
//! | `…/crio-<id>.scope` | cri-o |
//! | `…/libpod-<id>.scope[/container]` | podman |
//! | `…/kubepods-…-pod<uid>.slice/…`, `…/kubepods/…/pod<uid>/<id>` | a Kubernetes pod's |
//!
//! An id has 64 hexadecimal digits; a pod's UID 32, with dashes, or with underscores where systemd names the slice.

use crate::record::Container;

/// What stands before an id, and the runtime that it means.
const PREFIXES: [(&str, &str); 6] = [
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("crio-", "cri-o"),
    ("libpod-", "podman"),
    ("", ""),
];

const DIGITS: usize = 64;

/// The container that the path is of: that of its last part that names one.
pub fn of_path(path: &str) -> Option<Container> {
    let mut found: Option<Container> = None;
    let (mut pod, mut parent) = (None, "");
    for part in path.split('/') {
        if let Some(uid) = pod_uid(part) {
            pod = Some(uid);
        }
        if let Some((id, runtime)) = id(part) {
            let runtime = if runtime.is_empty() && parent == "docker" { "docker" } else { runtime };
            found = Some(Container { id: id.to_owned(), runtime, pod: pod.clone() });
        }
        parent = part;
    }
    found
}

/// The id in a part of a path, and the runtime that it tells.
fn id(part: &str) -> Option<(&str, &'static str)> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    // containerd without systemd: slice:prefix:id
    if let Some((before, id)) = part.rsplit_once(':') {
        let runtime = if before.ends_with("cri-containerd") { "containerd" } else { "" };
        return is_id(id).then_some((id, runtime));
    }
    // podman's monitor has the id of what it watches
    let found = PREFIXES.iter().find_map(|(prefix, runtime)| Some((part.strip_prefix(prefix)?, *runtime)));
    found.filter(|(id, _)| is_id(id))
}

fn is_id(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `pod<uid>` at the end of a part, as `kubepods-burstable-pod<uid>.slice`.
fn pod_uid(part: &str) -> Option<String> {
    let part = part.strip_suffix(".slice").unwrap_or(part);
    let (_, uid) = part.rsplit_once("pod")?;
    let digits: String = uid.chars().filter(|c| !matches!(c, '-' | '_')).collect();
    let is_uid = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_uid.then(|| {
        let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
        format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
    })
}

/// The runtime of that name, or nothing.
pub(crate) fn runtime(name: &str) -> &'static str {
    PREFIXES.iter().map(|(_, runtime)| *runtime).find(|runtime| *runtime == name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "0a1b2c3d-1111-2222-3333-444455556666";

    #[track_caller]
    fn check(path: &str, expected: Option<(&str, Option<&str>)>) {
        let underscored = UID.replace('-', "_");
        let path =
            path.replace("ID", ID).replace("U_ID", &underscored).replace("UUU", UID).replace("___", &underscored);
        let found = of_path(&path);
        let told = found.as_ref().map(|found| (found.runtime, found.pod.as_deref()));
        assert_eq!(told, expected, "{path}");
        assert!(found.is_none_or(|found| found.id == ID));
    }

    #[test]
    fn runtimes_are_told_by_the_path() {
        check("/system.slice/docker-ID.scope", Some(("docker", None)));
        check("/docker/ID", Some(("docker", None)));
        check("/docker/ID/init", Some(("docker", None)));
        check("/machine.slice/libpod-ID.scope/container", Some(("podman", None)));
        check(
            "/system.slice/containerd.service/kubepods-burstable-podUUU.slice:cri-containerd:ID",
            Some(("containerd", None)),
        );
        check("/kubepods.slice/kubepods-pod___.slice/cri-containerd-ID.scope", Some(("containerd", Some(UID))));
        check(
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod___.slice/crio-ID.scope",
            Some(("cri-o", Some(UID))),
        );
        check("/kubepods/burstable/podUUU/ID", Some(("", Some(UID))));
        check("/default/ID", Some(("", None)));
    }

    #[test]
    fn other_paths_are_of_none() {
        for path in ["", "/", "/user.slice/session-1.scope", "/machine.slice/libpod-conmon-ID.scope", "/docker/0123"] {
            check(path, None);
        }
        assert_eq!(of_path(&format!("/docker/{}", ID.to_uppercase())), None);
    }
}
