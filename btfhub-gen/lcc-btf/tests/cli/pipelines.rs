//! The examples of `ci/pipelines` do what they say.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{TempDir, btfhub, kernel, objects, program};

fn pipelines() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ci/pipelines")
}

fn run_local(dir: &Path, kernels: &Path) {
    let output = Command::new("sh")
        .current_dir(dir)
        .arg(pipelines().join("local.sh"))
        .env("LCC_BTF", program().get_program())
        .env("KERNELS", kernels)
        .env("OBJECTS", "good.o")
        .env("OUT", "out")
        .env("SHARDS", "4")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("the same bytes\n"));
}

#[test]
fn shards_and_merge_give_what_one_run_gives() {
    let dir = TempDir::new().unwrap();
    let Some(()) = objects(dir.path()) else { return };
    for n in 0..6 {
        kernel(&dir.path().join(format!("in/vmlinux-{n}")), &format!("6.1.0-{n}-amd64"), 1 + n % 4);
    }
    run_local(dir.path(), Path::new("in"));
}

#[test]
fn shards_and_merge_give_what_one_run_gives_on_real_kernels() {
    let Some(btfhub) = btfhub() else { return };
    let dir = TempDir::new().unwrap();
    let Some(()) = objects(dir.path()) else { return };
    run_local(dir.path(), &btfhub);
}

/// The scripts that the Kubernetes jobs and the GitHub jobs run, with the variables that these set.
#[test]
fn the_jobs_scripts_run() {
    let dir = TempDir::new().unwrap();
    let Some(()) = objects(dir.path()) else { return };
    for n in 0..3 {
        kernel(&dir.path().join(format!("in/vmlinux-{n}")), &format!("6.1.0-{n}-amd64"), 1 + n);
    }
    let script = |name: &str, index: &str| {
        let output = Command::new("sh")
            .current_dir(dir.path())
            .arg(pipelines().join(name))
            .env("LCC_BTF", program().get_program())
            .env("KERNELS", "in")
            .env("OBJECTS", "good.o")
            .env("OUT", "out")
            .env("SHARDS", "2")
            .env("JOB_COMPLETION_INDEX", index)
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    };
    script("shard.sh", "0");
    script("shard.sh", "1");
    script("merge.sh", "");
    let list = program().current_dir(dir.path()).args(["pack", "list", "out/btf.pack"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&list.stdout).lines().count(), 3);
    assert!(fs::read_dir(dir.path().join("out")).unwrap().count() >= 3);
}

/// The arguments of the Kubernetes jobs, with this machine's folders for the volumes.
#[test]
fn the_jobs_of_kubernetes_run() {
    let dir = TempDir::new().unwrap();
    let Some(()) = objects(dir.path()) else { return };
    for n in 0..3 {
        kernel(&dir.path().join(format!("kernels/packages/vmlinux-{n}")), &format!("6.1.0-{n}-amd64"), 1 + n);
    }
    fs::create_dir(dir.path().join("kernels/objects")).unwrap();
    for name in ["tcprt", "pingtrace"] {
        fs::copy(dir.path().join("good.o"), dir.path().join(format!("kernels/objects/{name}.o"))).unwrap();
    }
    let arguments = |file: &str, index: &str| -> Vec<String> {
        let yaml = fs::read_to_string(pipelines().join("kubernetes").join(file)).unwrap();
        let list = &yaml[yaml.find("args: [").unwrap() + 6..];
        let list: Vec<String> = serde_json::from_str(&list[..=list.find(']').unwrap()]).unwrap();
        let local = |text: String| text.replace("$(JOB_COMPLETION_INDEX)", index);
        list.into_iter().map(local).map(|text| text.strip_prefix('/').map(str::to_owned).unwrap_or(text)).collect()
    };
    let run = |arguments: Vec<String>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        crate::support::lcc_expect(dir.path(), &arguments, 0)
    };
    for index in 0..16 {
        run(arguments("gen.yaml", &index.to_string()));
    }
    run(arguments("merge.yaml", ""));
    let list = crate::support::lcc_expect(dir.path(), &["pack", "list", "results/btf.pack"], 0);
    assert_eq!(list.stdout.lines().count(), 3);
}
