//! A stripped program, and a database that knows where its function is: made of an unstripped one.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use image::Image;
use lcc_tests::{project, server, skip};
use offset_db::{Fingerprint, Origin, Store};
use offsetdb::facts;

/// The function. It is static: no table of what is exported has it.
pub(crate) const FUNCTION: &str = "lcc_victim_work";

/// The files' names.
pub(crate) const PROGRAM: &str = "victim";
pub(crate) const DATABASE: &str = "victim.sqlite";

/// Makes both files with a compiler, a command with its arguments (`gcc -m32`). `None`, said, where it is not installed.
///
/// # Panics
/// The compiler fails; a file cannot be written.
pub(crate) fn make(compiler: &str, folder: &Path) -> Option<()> {
    let folder = std::path::absolute(folder).expect("the folder");
    let unstripped = tempfile::tempdir().expect("a folder");
    let unstripped = unstripped.path().join(PROGRAM);
    let words: Vec<&str> = compiler.split_whitespace().collect();
    let [program, arguments @ ..] = words.as_slice() else { panic!("{compiler:?} is no compiler") };
    let Some(program) = server::program(program) else {
        skip(&format!("no {program}"));
        return None;
    };
    let mut compile = Command::new(&program);
    compile.args(arguments).args(["-O2", "-Wall", "-Wextra", "-Werror", "-static", "-Wl,--build-id=sha1", "-o"]);
    compile.arg(&unstripped).args(["victim.c", "victim_library.c"]);
    server::run(compile.current_dir(project().join("tests/tests/fixtures")));
    // that of binutils knows few architectures; LLVM's knows all, and takes no program that GNU's linker has linked statically
    let stripped = |strip: &str| {
        let mut strip = Command::new(strip);
        let status = strip.args(["--strip-all", "-o"]).arg(folder.join(PROGRAM)).arg(&unstripped).output();
        status.is_ok_and(|output| output.status.success())
    };
    let own = server::run(Command::new(&program).args(arguments).arg("-print-prog-name=strip"));
    assert!(
        stripped(own.trim()) || stripped("llvm-strip"),
        "neither {own} nor llvm-strip strips {}",
        unstripped.display()
    );

    let bytes = std::fs::read(&unstripped).expect("the program");
    let image = Image::parse(&bytes).expect("an ELF file");
    let labels = facts::labelled(&image, &BTreeSet::from([FUNCTION.to_owned()])).expect("its labels");
    assert_eq!(labels.len(), 1, "{labels:?}");
    let database = folder.join(DATABASE);
    let _ = std::fs::remove_file(&database);
    let mut store = Store::create(&database).expect("a database");
    let origin = Origin {
        ecosystem: "file".to_owned(),
        package: PROGRAM.to_owned(),
        version: String::new(),
        tag: String::new(),
        platform: String::new(),
        path: String::new(),
    };
    store.add(&Fingerprint::of(&image), &[origin], &labels).expect("adding it");
    Some(())
}
