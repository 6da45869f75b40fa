//! The first and only process of a virtual machine: for each object in `/objects` it holds the plan against what the kernel
//! does, and prints one line of JSON on the serial console, behind [`MARK`]. Then the machine is switched off.
//!
//! `cargo xtask vm` builds it statically, puts it into an initramfs as `/init`, and reads the lines.

use std::ffi::CStr;
use std::path::Path;

use anyhow::{Context, Result};
use btf::object_file::ObjectFile;
use loader::choose::{Places, choose};
use rustix::mount::{MountFlags, mount};

/// What a line with a result begins with; all others are the kernel's.
const MARK: &str = "@lcc ";

/// File systems that loading and attaching need: kind, and where.
const MOUNTS: [(&str, &str); 7] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("securityfs", "/sys/kernel/security"),
    ("debugfs", "/sys/kernel/debug"),
    ("tracefs", "/sys/kernel/tracing"),
    ("cgroup2", "/sys/fs/cgroup"),
];

fn main() {
    if std::process::id() != 1 {
        eprintln!("vm-guest: this is for the first process of a virtual machine, which it switches off");
        std::process::exit(2);
    }
    for (kind, at) in MOUNTS {
        let _ = std::fs::create_dir_all(at);
        if let Err(error) = mount(kind, at, kind, MountFlags::empty(), None::<&CStr>) {
            println!("vm-guest: mounting {kind}: {error}");
        }
    }
    if let Err(error) = verify() {
        println!("{MARK}{}", serde_json::json!({ "error": format!("{error:#}") }));
    }
    println!("{MARK}{}", serde_json::json!({ "done": true }));
    let _ = rustix::system::reboot(rustix::system::RebootCommand::PowerOff);
    // the kernel panics where its first process ends; it was told to stop then
}

fn verify() -> Result<()> {
    let mut objects: Vec<_> = std::fs::read_dir("/objects").context("/objects")?.flatten().map(|e| e.path()).collect();
    objects.sort();
    for path in objects {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).with_context(|| name.clone())?;
        let parsed = ObjectFile::parse(&name, &bytes).with_context(|| name.clone())?;
        let facts = loader::probe_for(Path::new("/"), &parsed);
        let chosen = choose(&parsed, &facts, &Places { root: "/".into(), ..Places::default() })?;
        let (plan, observed) = loader::verify(&name, &bytes, &facts, chosen.btf.as_ref())?;
        let programs = observed.iter().map(|one| {
            let refused = one.refused.as_ref().map(|(stage, why)| format!("{stage}: {why}"));
            serde_json::json!({
                "program": one.program, "predicted": one.predicted.word(), "refused": refused,
                "silently": one.silently, "differs": one.differs(),
            })
        });
        let programs: Vec<_> = programs.collect();
        let line = serde_json::json!({ "object": name, "kernel": plan.kernel, "programs": programs });
        println!("{MARK}{line}");
    }
    Ok(())
}
