//! Objects on the running kernel. As root; `UPDATE_GOLDEN=1` rewrites the goldens.

use std::path::{Path, PathBuf};
use std::process::Command;

use libbpf_rs::MapCore;
use loader::choose::{Places, choose};

fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "skipped where nothing may be: {why}");
    eprintln!("skipped: {why}");
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Whether BPF can be loaded here at all.
fn may_load() -> bool {
    let root = rustix::process::geteuid().is_root();
    let types = Path::new("/sys/kernel/btf/vmlinux").exists();
    if !root || !types {
        skip("needs root, and a kernel with BTF of its own");
    }
    root && types
}

/// Compiles a fixture into a folder.
fn compiled(folder: &Path, source: &str) -> Option<PathBuf> {
    let out = folder.join(source.replace(".bpf.c", ".bpf.o"));
    // names of sources as the working folder has them
    let object = compile::for_test(&sources(), Path::new(source), &["-I", "../../../../bpf"])?;
    std::fs::write(&out, object).unwrap();
    Some(out)
}

#[track_caller]
fn check_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == text, "{}: not as expected (UPDATE_GOLDEN=1 accepts it)\n{text}", path.display());
}

/// The plan without what differs from kernel to kernel: its name, and where an enum of its ends.
fn steady(plan: &plan::Plan) -> String {
    let text = plan::text::lines(plan, false);
    let (head, rest) = text.split_once('\n').unwrap();
    let outcome = head.rsplit(' ').next().unwrap();
    let mut out = format!("mixed.bpf.o: {outcome}\n");
    for line in rest.lines() {
        let line = match line.find("enum bpf_func_id ends at") {
            Some(at) => &line[..at],
            None => line,
        };
        out += line.trim_end();
        out.push('\n');
    }
    out
}

#[test]
fn root_a_good_program_runs_whatever_becomes_of_the_others() {
    if !may_load() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(object) = compiled(folder.path(), "mixed.bpf.c") else { return };
    let bytes = std::fs::read(object).unwrap();
    let facts = loader::probe(Path::new("/"));
    let places = Places { root: "/".into(), ..Places::default() };
    let parsed = btf::object_file::ObjectFile::parse("mixed.bpf.o", &bytes).unwrap();
    let chosen = choose(&parsed, &facts, &places).unwrap();
    assert!(chosen.btf.as_ref().is_some_and(|types| types.own), "{:?}", chosen.steps);
    let options = loader::Options::default();
    let session = loader::load("mixed.bpf.o", &bytes, &facts, chosen.btf.as_ref(), &options).unwrap();
    check_golden("mixed.txt", &steady(&session.plan));
    let refused: Vec<&str> = session.logs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(refused, ["verifier_error", "count_refused"], "the kernel was asked about no others");
    assert!(session.logs.iter().all(|(_, log)| log.contains("invalid bpf_context access")), "the logs are kept");
    let attached: Vec<&str> = session.attachments.iter().map(|one| one.program.as_str()).collect();
    assert_eq!(attached, ["good", "count_taken"]);
    std::thread::sleep(std::time::Duration::from_millis(50));
    let map = &session.maps["switches"];
    let count = map.lookup(&0u32.to_ne_bytes(), libbpf_rs::MapFlags::ANY).unwrap().unwrap();
    assert!(u64::from_ne_bytes(count.try_into().unwrap()) > 0, "it counts switches of tasks");
}

#[test]
fn root_nothing_is_left_behind() {
    if !may_load() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(object) = compiled(folder.path(), "mixed.bpf.c") else { return };
    let run =
        Command::new(env!("CARGO_BIN_EXE_lcc-load")).args(["run", "--seconds", "0"]).arg(&object).output().unwrap();
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
    let text = String::from_utf8(run.stdout).unwrap();
    assert!(text.contains("on  good") && text.contains("off verifier_error"), "{text}");
}

#[test]
fn errors_are_told_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("no.o"), "no object").unwrap();
    std::fs::write(path("cut.btf"), b"\x9f\xeb\x01\x00").unwrap();
    std::fs::write(path("facts.json"), "{\"version\": 1").unwrap();
    let Some(object) = compiled(folder.path(), "mixed.bpf.c") else { return };
    let run = |args: &[&std::ffi::OsStr]| {
        let run = Command::new(env!("CARGO_BIN_EXE_lcc-load")).args(args).output().unwrap();
        let text = String::from_utf8(run.stderr).unwrap().replace(folder.path().to_str().unwrap(), ".");
        assert_eq!(run.status.code(), Some(2), "{text}");
        text
    };
    let (no, cut, facts, absent) = (path("no.o"), path("cut.btf"), path("facts.json"), path("absent.o"));
    let mut text = run(&["run".as_ref(), absent.as_ref()]);
    text += &run(&["run".as_ref(), no.as_ref()]);
    text += &run(&["plan".as_ref(), object.as_ref(), "--btf".as_ref(), cut.as_ref()]);
    text += &run(&["plan".as_ref(), object.as_ref(), "--facts".as_ref(), facts.as_ref()]);
    // a BTF that was asked for is never passed over
    text += &run(&["plan".as_ref(), object.as_ref(), "--btf".as_ref(), path("absent.btf").as_ref()]);
    check_golden("errors.txt", &text);
}

/// The same program, relocated against BTF that is not found where the kernel has it.
#[test]
fn root_custom_btf_serves_relocations() {
    if !may_load() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(object) = compiled(folder.path(), "mixed.bpf.c") else { return };
    let copy = folder.path().join("copy.btf");
    std::fs::copy("/sys/kernel/btf/vmlinux", &copy).unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_lcc-load"))
        .args(["run", "--seconds", "0"])
        .arg(&object)
        .env("LCC_BTF", &copy)
        .output()
        .unwrap();
    let errors = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(0), "{errors}");
    assert!(errors.contains("copy.btf: taken; it serves relocations, not fentry"), "{errors}");
    assert!(String::from_utf8(run.stdout).unwrap().contains("on  good"));
}

/// A program of every kind: what is predicted of it on this kernel is what the kernel does.
#[test]
fn root_the_kernel_does_as_predicted() {
    if !may_load() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(object) = compiled(folder.path(), "zoo.bpf.c") else { return };
    let run = Command::new(env!("CARGO_BIN_EXE_lcc-load")).arg("verify").arg(&object).output().unwrap();
    let text = String::from_utf8(run.stdout).unwrap();
    assert_eq!(run.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&run.stderr));
    // the test would be worth nothing if all were one way
    assert!(text.lines().filter(|line| line.contains("predicted met")).count() > 15, "{text}");
    assert!(text.lines().filter(|line| line.contains("predicted unmet")).count() > 8, "{text}");
    let raw_tp = text.lines().find(|line| line.contains(" raw_tp_ ")).unwrap();
    assert!(raw_tp.ends_with("works"), "{text}");
}

#[test]
fn root_without_rights_the_reason_is_named() {
    if !may_load() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(object) = compiled(folder.path(), "zoo.bpf.c") else { return };
    // nobody may look into the target folder of some checkouts
    let program = folder.path().join("lcc-load");
    std::fs::copy(env!("CARGO_BIN_EXE_lcc-load"), &program).unwrap();
    for path in [folder.path(), &program, &object] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).unwrap();
    }
    use std::os::unix::process::CommandExt;
    let run = Command::new(&program)
        .args(["run", "--seconds", "0"])
        .arg(&object)
        .uid(65534)
        .gid(65534)
        .current_dir("/")
        .output()
        .unwrap();
    let (text, errors) = (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap());
    assert_eq!(run.status.code(), Some(2), "{text}{errors}");
    assert!(text.contains("unmet CAP_BPF: the process does not have CAP_BPF, nor CAP_SYS_ADMIN"), "{text}");
    assert!(errors.contains("may not load BPF programs") && errors.lines().count() == 1, "{errors}");
}

/// In a mount namespace of its own, where the kernel's types are hidden.
#[test]
fn root_without_types_what_has_relocations_is_off() {
    if !may_load() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(object) = compiled(folder.path(), "mixed.bpf.c") else { return };
    let script = "mount -t tmpfs none /sys/kernel/btf && exec \"$0\" run --seconds 0 \"$1\"";
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_lcc-load")]).arg(&object);
    let run = unshare.env_remove("LCC_BTF").output().unwrap();
    let (text, errors) = (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap());
    assert_eq!(run.status.code(), Some(1), "{text}{errors}");
    let after = |program: &str| text.split(program).nth(1).unwrap_or_default().to_owned();
    let unmet = "unmet types of the kernel (BTF): there are none of this kernel";
    assert!(after("off good ").lines().nth(1).unwrap().trim().starts_with(unmet), "{text}");
    assert!(text.contains("on  count_taken"), "what has no relocations works: {text}");
    assert!(errors.contains("BTF: the kernel's own BTF: /sys/kernel/btf/vmlinux: No such file"), "{errors}");
}
