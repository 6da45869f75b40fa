//! The raw listing and the JSON, byte by byte as bpftool prints them.

use std::path::Path;
use std::process::Command;

use btf::{Btf, dump};

use crate::corpus::{self, Kernel};

fn bpftool(arguments: &[&str], path: &Path) -> Option<String> {
    let output = Command::new("bpftool").args(arguments).args(["btf", "dump", "file"]).arg(path).output();
    match output {
        Ok(output) if output.status.success() => Some(String::from_utf8(output.stdout).expect("UTF-8 from bpftool")),
        Ok(output) => panic!("bpftool on {}: {}", path.display(), String::from_utf8_lossy(&output.stderr)),
        Err(e) => {
            corpus::missing_tool("bpftool", &e);
            None
        }
    }
}

#[track_caller]
fn assert_same_lines(ours: &str, theirs: &str, kernel: &Kernel) {
    for (number, (ours, theirs)) in ours.lines().zip(theirs.lines()).enumerate() {
        assert_eq!(ours, theirs, "{} line {}", kernel.name, number + 1);
    }
    assert_eq!(ours.len(), theirs.len(), "{}", kernel.name);
}

#[test]
fn the_raw_listing_is_bpftools() {
    for kernel in corpus::all() {
        let Some(theirs) = bpftool(&[], &kernel.path) else { return };
        let ours = dump::raw::listing(&Btf::parse(&kernel.btf).unwrap()).unwrap();
        assert_same_lines(&ours, &theirs, &kernel);
    }
}

#[test]
fn the_json_is_bpftools() {
    for kernel in corpus::all() {
        let Some(theirs) = bpftool(&["-j"], &kernel.path) else { return };
        let ours = dump::json::document(&Btf::parse(&kernel.btf).unwrap()).unwrap();
        let by_line = |text: &str| text.trim_end().replace("},", "},\n").replace("\"val\":", "\n\"val\":");
        let (ours, theirs) = (by_line(&ours), by_line(&theirs));
        let same = |(ours, theirs): (&str, &str)| {
            if ours == theirs { theirs.to_owned() } else { without_sign_extension(theirs) }
        };
        let corrected: Vec<String> = ours.lines().zip(theirs.lines()).map(same).collect();
        assert_same_lines(&ours, &corrected.join("\n"), &kernel);
    }
}

/// bpftool prints an unsigned 32-bit enumerator from 2^31 on as a 64-bit number, sign extended.
fn without_sign_extension(line: &str) -> String {
    let value =
        line.strip_prefix("\"val\":").map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
    match value.and_then(|digits| digits.parse::<u64>().ok()) {
        Some(value) if value >= 0xffff_ffff_8000_0000 => line.replace(&value.to_string(), &(value as u32).to_string()),
        _ => line.to_owned(),
    }
}
