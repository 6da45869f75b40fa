//! Attaching: what a section says all of, a control group's programs to the one that is asked for, uprobes where a resolver has
//! found them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use libbpf_rs::{Link, Object, ProgramMut, TracepointCategory, UprobeOpts};
use plan::{Attach, Plan, SectionKind};

use crate::open::Failed;
use crate::raw::CgroupAttachment;
use crate::session::Options;

/// A program's attachment. It ends with this value, unless it is pinned.
#[derive(Debug)]
pub struct Attachment {
    /// The program.
    pub program: String,
    pub(crate) how: How,
}

#[derive(Debug)]
pub(crate) enum How {
    Link(Link),
    /// Kept for its end.
    Cgroup(#[expect(dead_code, reason = "what counts is that it is dropped")] CgroupAttachment),
}

/// Where uprobes go: by program, the file and the place in it.
pub(crate) type Places = BTreeMap<String, (PathBuf, u64)>;

/// Attaches all programs of an object that the plan has on, but for those that only the caller can attach.
pub(crate) fn attach(
    object: &Object,
    plan: &Plan,
    options: &Options,
    places: &Places,
) -> Result<Vec<Attachment>, Failed> {
    let mut cgroup = None;
    let mut attachments = Vec::new();
    for program in object.progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        let section = program.section().to_string_lossy().into_owned();
        let planned = plan.programs.iter().find(|program| program.enabled && program.name == name);
        let Some(planned) = planned.filter(|_| !options.by_caller.contains(&name)) else { continue };
        let is_moved = section.trim_start_matches('?') != planned.section;
        let section = &planned.section;
        let Some(kind) = SectionKind::of(section).filter(is_ours) else { continue };
        let attached = match kind.attach {
            Attach::Cgroup => match group(options, &mut cgroup) {
                Ok(group) => to_cgroup(&program, group),
                Err(why) => Err(why),
            },
            Attach::Uprobe => match places.get(&name) {
                Some((file, offset)) => to_function(&program, options, section, file, *offset),
                None => continue,
            },
            _ if is_moved => elsewhere(&program, &kind, section),
            _ => program.attach().map(How::Link).map_err(|error| error.to_string()),
        };
        match attached {
            Ok(how) => attachments.push(Attachment { program: name, how }),
            Err(why) => return Err(Failed::Program { name, stage: "attach", why, log: None }),
        }
    }
    Ok(attachments)
}

/// To another target than the object's section names. What is bound when it is loaded, `open` has bound.
fn elsewhere(program: &ProgramMut<'_>, kind: &SectionKind<'_>, section: &str) -> Result<How, String> {
    let target = kind.target.unwrap_or_default();
    let attached = match kind.attach {
        Attach::Kprobe => program.attach_kprobe(section.starts_with("kretprobe"), target),
        Attach::RawTracepoint => program.attach_raw_tracepoint(target),
        Attach::Tracepoint => {
            let (category, name) = target.split_once('/').ok_or("it is not CATEGORY/NAME")?;
            program.attach_tracepoint(TracepointCategory::Custom(category.to_owned()), name)
        }
        Attach::Function | Attach::BtfTracepoint | Attach::Lsm => program.attach(),
        _ => return Err("programs of this kind cannot be given another target".to_owned()),
    };
    attached.map(How::Link).map_err(|error| error.to_string())
}

/// Whether programs of a kind are attached here, not by the caller.
pub(crate) fn is_ours(kind: &SectionKind<'_>) -> bool {
    match kind.attach {
        Attach::Extension | Attach::StructOps => false,
        Attach::Cgroup => true,
        _ => kind.target.is_some(),
    }
}

/// The control group, opened once.
fn group<'g>(options: &Options, open: &'g mut Option<File>) -> Result<&'g File, String> {
    if open.is_none() {
        let path = match &options.cgroup {
            Some(path) => path.clone(),
            None => cgroup_root(Path::new("/")).ok_or("no control groups of version 2 are mounted")?,
        };
        *open = Some(File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?);
    }
    open.as_ref().ok_or_else(String::new)
}

/// Where the unified hierarchy of control groups is mounted (`proc_pid_mountinfo(5)`).
pub(crate) fn cgroup_root(root: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    text.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?;
        // spaces in names are written in octal
        (kind.split(' ').next() == Some("cgroup2")).then(|| PathBuf::from(point.replace("\\040", " ")))
    })
}

fn to_cgroup(program: &ProgramMut<'_>, group: &File) -> Result<How, String> {
    use std::os::fd::{AsFd, AsRawFd};
    let error = match program.attach_cgroup(group.as_raw_fd()) {
        Ok(link) => return Ok(How::Link(link)),
        Err(error) => error,
    };
    // what a kernel without such links says
    match error.kind() {
        libbpf_rs::ErrorKind::InvalidInput => CgroupAttachment::new(program, group.as_fd())
            .map(How::Cgroup)
            .map_err(|older| format!("{error}; without a link: {older}")),
        _ => Err(error.to_string()),
    }
}

fn to_function(
    program: &ProgramMut<'_>,
    options: &Options,
    section: &str,
    file: &Path,
    offset: u64,
) -> Result<How, String> {
    let retprobe = section.trim_start_matches('?').starts_with("uretprobe");
    let pid = options.pid.map_or(Ok(-1), i32::try_from).map_err(|_| "no process has such a number".to_owned())?;
    let offset = usize::try_from(offset).map_err(|_| "the offset is too large for this machine".to_owned())?;
    let opts = UprobeOpts { retprobe, ..UprobeOpts::default() };
    program.attach_uprobe_with_opts(pid, file, offset, opts).map(How::Link).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found_among_mounts() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(cgroup_root(root.path()), None);
        std::fs::create_dir_all(root.path().join("proc/self")).unwrap();
        let text = "22 1 0:20 / /sys rw,nosuid - sysfs sysfs rw\n\
                    30 22 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                    31 22 0:27 / /sys/fs/a\\040b rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        std::fs::write(root.path().join("proc/self/mountinfo"), text).unwrap();
        assert_eq!(cgroup_root(root.path()), Some(PathBuf::from("/sys/fs/a b")));
    }
}
