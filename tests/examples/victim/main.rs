//! Makes what the test `stripped_uprobe` finds by `LCC_FIXTURES`, where there is no compiler: a program without symbols (`victim`), and a
//! database with its function (`victim.sqlite`).
//!
//! ```console
//! $ cargo run -p lcc-tests --example victim -- --cc "gcc -m32" FOLDER
//! ```

mod make;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (compiler, folder) = match arguments.as_slice() {
        ["--cc", compiler, folder] => (*compiler, *folder),
        [folder] if !folder.starts_with('-') => ("gcc", *folder),
        _ => {
            eprintln!("victim: [--cc COMPILER] FOLDER");
            return ExitCode::from(2);
        }
    };
    match make::make(compiler, Path::new(folder)) {
        Some(()) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}
