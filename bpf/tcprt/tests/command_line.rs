//! What needs no kernel: help, logs that are read again, man pages, and errors.

mod support;

use std::fs;

use support::{golden, program, tcprt};

#[test]
fn help_is_as_it_was() {
    let mut all = String::new();
    for command in ["", "top", "log", "stop", "parse"] {
        let args: Vec<&str> = [command, "--help"].into_iter().filter(|arg| !arg.is_empty()).collect();
        let ran = tcprt(&args);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        all += &format!("$ tcprt {}\n{}\n", args.join(" "), ran.stdout);
    }
    golden("help.txt", &all);
}

/// What `tcprt parse` says of the vendor's log, with the lines that it cannot read.
#[track_caller]
fn check(name: &str, args: &[&str]) -> String {
    let ran = tcprt(&[&["parse", "vendor.log"], args].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let told = "tcprt: vendor.log:7:1: \"rubbish\": a line of this log begins with V6\n\
                tcprt: vendor.log:8:75: the line ends where the largest segment is expected\n";
    assert_eq!(ran.stderr, told);
    golden(name, &ran.stdout);
    ran.stdout
}

#[test]
fn the_vendors_log_is_read() {
    check("parse.txt", &[]);
    check("parse-percentiles.txt", &["--percentiles"]);
    check("parse-stats.txt", &["--stats", "2"]);
    check("parse-slow.txt", &["--min-total", "10ms", "--port", "80"]);
    check("parse-timeline.svg", &["--svg", "timeline"]);
    check("parse-heatmap.svg", &["--svg", "heatmap", "--part", "process"]);
}

#[test]
fn v6_and_json_can_be_turned_into_each_other() {
    let v6 = check("parse-v6.txt", &["--v6"]);
    let whole: String =
        fs::read_to_string("tests/fixtures/vendor.log").unwrap().lines().take(6).map(|l| format!("{l}\n")).collect();
    assert_eq!(v6, whole);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.json");
    fs::write(&path, check("parse-json.txt", &["--json"])).unwrap();
    let ran = tcprt(&["parse", "--v6", path.to_str().unwrap()]);
    assert_eq!((ran.stdout, ran.stderr.as_str(), ran.code), (v6, "", Some(0)));
}

#[test]
fn pictures_are_written_to_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.svg");
    let ran = tcprt(&["parse", "vendor.log", "--svg", "heatmap", "-o", path.to_str().unwrap()]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
    assert!(fs::read_to_string(path).unwrap().contains("<title>vendor.log: total of 3 tasks</title>"));
}

#[test]
fn bad_lines_can_be_an_error() {
    assert_eq!(tcprt(&["parse", "--strict", "vendor.log"]).code, Some(2));
    assert_eq!(tcprt(&["parse", "--strict", "--v6", "/dev/null"]).code, Some(0));
}

#[test]
fn what_is_asked_wrongly_is_an_error() {
    let mut all = String::new();
    let wrong: [&[&str]; 12] = [
        &["parse", "no.log"],
        &["parse"],
        &["parse", "vendor.log", "--json", "--percentiles"],
        &["--format", "xml"],
        &["--lport", "80,9-8"],
        &["--min-total", "10"],
        &["--container", "a", "--cgroup", "/"],
        &["--container", "nginx"],
        &["--cgroup", "/no/such/group"],
        &["--netns", "/no/such/namespace"],
        &["--config", "no.yaml"],
        &["log", "--pins", "/no/such/folder"],
    ];
    for args in wrong {
        let ran = tcprt(args);
        assert_eq!(ran.stdout, "", "{args:?}");
        all += &format!("$ tcprt {}\n{}[{}]\n\n", args.join(" "), ran.stderr, ran.code.unwrap());
    }
    golden("errors.txt", &all);
}

#[test]
fn man_pages_are_written_for_every_subcommand() {
    let folder = tempfile::tempdir().unwrap();
    let ran = tcprt(&["man", folder.path().to_str().unwrap()]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
    for name in ["tcprt", "tcprt-top", "tcprt-log", "tcprt-stop", "tcprt-parse"] {
        let page = fs::read_to_string(folder.path().join(format!("{name}.1"))).unwrap();
        assert!(page.contains(".SH DESCRIPTION"), "{name}: {page}");
    }
    let page = fs::read_to_string(folder.path().join("tcprt.1")).unwrap();
    assert!(
        page.contains("Exit status") && page.contains("stats\\-interval") && page.contains("CAP_PERFMON"),
        "{page}"
    );
}

#[test]
fn completions_know_subcommands_and_options() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = tcprt(&["completions", shell]);
        assert!(
            ran.code == Some(0) && ran.stdout.contains("parse") && ran.stdout.contains("min-total"),
            "{shell}: {ran:?}"
        );
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    use std::io::Read;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.log");
    let line = fs::read_to_string("tests/fixtures/vendor.log").unwrap().lines().next().unwrap().to_owned() + "\n";
    fs::write(&path, line.repeat(100_000)).unwrap();
    let mut child = program()
        .args(["parse", path.to_str().unwrap(), "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0; 10]).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}
