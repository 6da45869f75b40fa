//! The command line: what can be said.

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// The offset of any function in any user library, stripped ones included.
#[derive(Debug, Parser)]
#[command(name = "offsetdb", version, max_term_width = 120, propagate_version = true)]
#[command(after_help = "\
Exit status: 0 done, 1 a negative answer (not known, not sure, not right), 2 an error; nothing was changed then.")]
pub struct Args {
    /// The database; else $OFFSETDB, else offsets.sqlite beside the program or in /usr/share/lcc
    #[arg(short, long, global = true, value_name = "FILE", env = "OFFSETDB", hide_env_values = true)]
    pub database: Option<PathBuf>,
    /// Say more of what is done; twice, three times for details
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell where functions begin in a file, and where fields are in structs, by its own names and by the database
    Lookup(Lookup),
    /// Tell which libraries and programs of processes, or of a folder, are known
    Scan(Scan),
    /// Tell where the fields of structs are, by debug information
    Layout(Layout),
    /// Take what files say of themselves into the database
    Import(Import),
    /// Find a stripped file's functions by those of labelled builds
    Identify(Identify),
    /// Download all versions of a package, and take what is known or found of each into the database
    Pull(Pull),
    /// Take labelled files without their labels, identify them, and tell how much was right
    Verify(Verify),
    /// Tell how a fact is known
    Explain(Explain),
    /// Tell what is in the database
    Stats(Json),
    /// Write the database as text: JSON lines, sorted; or as a database whose bytes depend on its facts only
    Export(Output),
    /// Add exports to the database
    Merge(Merge),
    /// Print a shell's completions
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a folder
    #[command(hide = true)]
    Man {
        /// The folder
        folder: PathBuf,
    },
}

/// `lookup`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "offsetdb lookup [OPTIONS] FILE [NAME]...\n       offsetdb lookup [OPTIONS] --pid PID [NAME]...\n       \
    offsetdb lookup [OPTIONS] --build-id HEX [NAME]..."
)]
pub struct Lookup {
    /// An ELF file, or a wheel, zip, APK or Debian package that has one (`app.apk!lib/arm64-v8a/libx.so` names one of several); then names:
    /// functions, by their symbols (`memcpy@GLIBC_2.14`) or without parameters, and fields (`STRUCT.FIELD`); without names, all
    /// functions that the database has of the file
    #[arg(value_name = "FILE | NAME", required_unless_present_any = ["pid", "build_id"])]
    pub what: Vec<String>,
    /// What a process has mapped to execute, in place of a file; repeatable
    #[arg(long, value_name = "PID", conflicts_with = "build_id")]
    pub pid: Vec<u32>,
    /// A file that is not here, by its build-id: what the database knows
    #[arg(long, value_name = "HEX")]
    pub build_id: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `scan`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("where").required(true))]
pub struct Scan {
    /// A folder, with those in it
    #[arg(group = "where")]
    pub folder: Option<PathBuf>,
    /// What a process has mapped to execute; repeatable
    #[arg(long, group = "where", value_name = "PID")]
    pub pid: Vec<u32>,
    /// What any process has
    #[arg(long, group = "where")]
    pub all: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `layout`.
#[derive(Debug, clap::Args)]
pub struct Layout {
    /// A file with debug information, or one that has a debug file
    pub file: PathBuf,
    /// Types, with or without their namespaces; with a dot and a path, one field
    #[arg(required = true, value_name = "STRUCT[.FIELD]")]
    pub types: Vec<String>,
    /// Tell the fields of structs in structs too
    #[arg(short, long)]
    pub all: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `import`.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// ELF files, wheels, zips
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Only these functions; repeatable
    #[arg(long = "function", value_name = "NAME")]
    pub functions: Vec<String>,
}

/// `identify`.
#[derive(Debug, clap::Args)]
pub struct Identify {
    /// The stripped file
    pub file: PathBuf,
    /// A labelled build; repeatable. The first ones count as of the same package
    #[arg(long, value_name = "FILE")]
    pub reference: Vec<PathBuf>,
    /// The version's own source, compiled by somebody: its names are those of the file; repeatable
    #[arg(long, value_name = "FILE")]
    pub compiled: Vec<PathBuf>,
    /// Builds of this package of PyPI, of the version that the file is most like by what the database has: downloaded, and compiled from
    /// source
    #[arg(long, value_name = "NAME")]
    pub package: Option<String>,
    /// That version of the package
    #[arg(long = "package-version", value_name = "VERSION", requires = "package")]
    pub package_version: Option<String>,
    /// Do not compile the package's source
    #[arg(long, requires = "package")]
    pub no_compile: bool,
    /// Where downloads and compiled references are kept [default: ~/.cache/lcc/offsets]
    #[arg(long, value_name = "FOLDER", requires = "package")]
    pub cache: Option<PathBuf>,
    /// Only these functions; repeatable
    #[arg(long = "function", value_name = "NAME")]
    pub functions: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `pull`.
#[derive(Debug, clap::Args)]
pub struct Pull {
    /// Whose packages they are
    #[arg(value_parser = ["pypi", "debian"])]
    pub ecosystem: String,
    /// The packages; of Debian's also a recipe's own name, which stands for all of its packages
    #[arg(required = true)]
    pub packages: Vec<String>,
    /// Its versions: `1.60.1`, `1.20..1.40`, `1.41..` [default: the recipe's; of Debian's packages all that a suite has]
    #[arg(long, value_name = "RANGE")]
    pub versions: Option<String>,
    /// Pythons, as wheels name them; all of a version's are taken [default: the recipe's]
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    pub python: Vec<String>,
    /// Debian's suites, by their code names [default: all that are kept]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub suite: Vec<String>,
    /// Debian's architectures
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "amd64")]
    pub arch: Vec<String>,
    /// The recipe; else the one that is built in
    #[arg(long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    /// Where downloads and compiled references are kept [default: ~/.cache/lcc/offsets]
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// Do not compile the versions' sources: one witness less
    #[arg(long)]
    pub no_compile: bool,
}

/// `explain`.
#[derive(Debug, clap::Args)]
pub struct Explain {
    /// The file
    pub file: PathBuf,
    /// The function
    pub function: String,
}

/// `stats`.
#[derive(Debug, clap::Args)]
pub struct Json {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `export`.
#[derive(Debug, clap::Args)]
pub struct Output {
    /// The file; standard output where it is missing or `-`
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// Write a database instead: the same facts give the same bytes
    #[arg(long)]
    pub sqlite: bool,
}

/// `merge`.
#[derive(Debug, clap::Args)]
pub struct Merge {
    /// Exports
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// `verify`.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The package, of pypi
    pub package: String,
    /// Its versions, of which labelled ones are taken
    #[arg(long, value_name = "RANGE", default_value = "..")]
    pub versions: String,
    /// Pythons, as wheels name them; of labelled ones, the first that a version has is taken
    #[arg(long, value_name = "TAG", value_delimiter = ',', default_value = "38,37,310")]
    pub python: Vec<String>,
    /// Do not compile the versions' sources: the witnesses that need them are not measured
    #[arg(long)]
    pub no_compile: bool,
    /// The recipe; else the one that is built in
    #[arg(long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    /// Where downloads and compiled references are kept [default: ~/.cache/lcc/offsets]
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
