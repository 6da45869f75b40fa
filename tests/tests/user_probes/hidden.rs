//! Libraries that no path of this system leads to: deleted ones, and those of another mount namespace, as containers have. What
//! `offsetdb` opens for a mapping is what a probe is attached to.

use crate::probes::{Talker, Wanted, object, watch};
use lcc_tests::skip;
use offset_db::Resolver;
use offsetdb::process;
use std::path::Path;
use std::process::Command;

/// Loads a library, and calls its function as often as it is told.
const SCRIPT: &str = "
import ctypes, os, sys
library = ctypes.CDLL(sys.argv[1])
for command in sys.argv[2:]:
    os.system(command)
print(os.getpid(), flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        library.lcc_probed()
    print('done', flush=True)
";

#[track_caller]
fn check(folder: &Path, mut command: Command) {
    let Some(object) = object() else { return };
    let mut talker = Talker::start(&mut command);
    let mapped = process::mapped(Path::new("/proc"), &[talker.process], false).unwrap();
    let library = mapped.iter().find(|file| file.path.starts_with(folder.to_str().unwrap())).expect("it is mapped");
    assert!(!Path::new(&library.path).exists(), "its path leads to it");
    let (opened, _) = process::open(library).unwrap().expect("it can be read");
    let wanted = Wanted { count: vec!["lcc_probed"], ..Wanted::default() };
    let process = talker.process;
    let seen = watch(&object, Resolver::without_database(), process, &opened, &wanted, || talker.tell("37"));
    assert_eq!(seen.counts["lcc_probed"], 37, "{}", opened.display());
}

fn compile(folder: &Path) -> bool {
    std::fs::write(folder.join("library.c"), "int lcc_probed(void) { return 7; }\n").unwrap();
    let mut gcc = Command::new("gcc");
    gcc.args(["-shared", "-fPIC", "-s", "library.c", "-o", "library.so"]).current_dir(folder);
    match gcc.status() {
        Ok(status) => {
            assert!(status.success());
            true
        }
        Err(error) => {
            skip(&format!("gcc: {error}"));
            false
        }
    }
}

#[test]
fn root_a_deleted_library_is_probed() {
    let folder = tempfile::tempdir().unwrap();
    if !compile(folder.path()) {
        return;
    }
    let library = folder.path().join("library.so");
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT]).arg(&library).arg(format!("rm {}", library.display()));
    check(folder.path(), command);
}

#[test]
fn root_a_library_of_another_mount_namespace_is_probed() {
    let folder = tempfile::tempdir().unwrap();
    if !compile(folder.path()) {
        return;
    }
    let inside = folder.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    let script = format!(
        "mount -t tmpfs none {0} && cp {1}/library.so {0}/ && exec python3 -c \"$0\" {0}/library.so",
        inside.display(),
        folder.path().display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script, SCRIPT]);
    check(&inside, command);
}
