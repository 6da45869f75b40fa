//! A layout as gdb prints it for the same source compiled with DWARF.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use btf::{Btf, Kind, elf, layout};

const SOURCE: &str = r#"
struct point { int x; char *name; int y; };
struct outer {
    int f1;
    struct point inner;
    const struct point fixed;
    char c;
    struct { int a : 3; int b : 7; unsigned d; } an;
    union { int u1; long u2; };
    int arr[3][2];
    int (*fn)(int, ...);
    const char *const *names[4];
    int bf : 5;
    long bf2 : 40;
    enum { RED, GREEN = 4, BLUE } colour;
    char t;
};
struct bits { int a1 : 1; int a2 : 3; int a3 : 23; signed char a4; long a5; int a6 : 5; long a7 : 3; };
struct packed { char a; int b; short c; } __attribute__((packed));
struct flexible { int n; struct point *next; char data[]; };
struct aligned { char a; } __attribute__((aligned(64)));
union either { struct point p; int y; char z[3]; };
struct empty { };
struct outer outer; struct bits bits; struct packed packed; struct flexible flexible; struct aligned aligned;
union either either; struct empty empty;
"#;

fn run(command: &mut Command) -> Option<String> {
    match command.output() {
        Ok(output) if output.status.success() => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => panic!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)),
        Err(e) => {
            assert!(std::env::var_os("CI").is_none(), "{command:?}: {e}");
            eprintln!("SKIPPED: {command:?}: {e}");
            None
        }
    }
}

#[test]
fn the_listing_is_gdbs() {
    let source = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("layout.c");
    fs::write(&source, SOURCE).unwrap();
    let compile = |name: &str, target: &str| {
        let object = source.with_file_name(name);
        let arguments = ["-target", target, "-g", "-c", "-o"];
        run(Command::new("clang").args(arguments).arg(&object).arg(&source)).map(|_| object)
    };
    let (Some(dwarf), Some(bpf)) = (compile("layout.dwarf.o", "x86_64-linux-gnu"), compile("layout.bpf.o", "bpf"))
    else {
        return;
    };
    let object = fs::read(bpf).unwrap();
    let btf = Btf::parse(elf::btf_section(&object).unwrap().expect("a .BTF section").btf).unwrap();
    for what in ["outer", "bits", "packed", "flexible", "aligned", "either", "empty", "point"] {
        let kind = if what == "either" { Kind::Union } else { Kind::Struct };
        let keyword = if what == "either" { "union" } else { "struct" };
        let id = btf.find(what, kind).next().expect("it is in the source");
        let ours = layout::gdb::listing(&layout::of(&btf, id).unwrap());
        let print = format!("ptype /o {keyword} {what}");
        let Some(theirs) = run(Command::new("gdb").args(["-batch", "-ex", &print]).arg(&dwarf)) else { return };
        // BTF does not tell a flexible array from one without elements.
        assert_eq!(ours, theirs.replace("data[];", "data[0];"), "{what}");
    }
}
