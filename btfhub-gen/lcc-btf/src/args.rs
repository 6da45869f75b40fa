//! The command line: what can be said, and whether it fits together. Nothing is done here.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use dwarf::Compat;
use pack::KernelId;

use crate::generate::kernel::Source;
use crate::generate::layout::Compress;
use crate::generate::{Destination, Shard};

/// What a KERNEL can be, for the help of every command that takes one.
const KERNEL_HELP: &str = "\
A KERNEL is told by its content, never by its name:
  ELF                 vmlinux, with DWARF or .BTF; a module (.ko), beside the vmlinux of its release
  raw BTF             in either byte order
  .deb .ddeb .rpm     a debug package, read as a stream, without root: only vmlinux is unpacked
  tar                 BTFHub's <release>.btf, or vmlinux
  any of these in xz, zstd, gzip or bzip2
  a folder            all of these in it, however deep; in sorted order
  running             the running kernel's own BTF (a file of that name is ./running)";

/// BTF for every kernel, from its own debug information, cut to what BPF objects need.
#[derive(Debug, Parser)]
#[command(name = "lcc-btf", version, max_term_width = 120, propagate_version = true)]
pub struct Args {
    /// Say more of what is done, and tell all diagnostics; twice, three times for details
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the BTF of kernels, whole or cut to what BPF objects need
    Gen(Gen),
    /// Tell which program of which object works on which kernel, without booting any
    Check(Check),
    /// Print the types of a kernel, a module or a BPF object
    Dump(Dump),
    /// Print where the members of a struct are, their sizes, and the holes between them
    Layout(Layout),
    /// Print what changed from one kernel to another: types, functions, variables
    Diff(Diff),
    /// Merge packs and folders into one
    Merge(Merge),
    /// List, read and check packs
    #[command(subcommand)]
    Pack(PackCommand),
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

/// Make the BTF of kernels, whole or cut to what BPF objects need.
///
/// Without --obj, a kernel's whole BTF is written; with it, the minimal BTF that the CO-RE relocations of all objects need.
/// An input that fails is reported, and the others are done nevertheless. A run that is repeated does only what is new: the
/// results are kept, by content, in <DIR>/.lcc-btf or <FILE>.lcc-btf. The results are the same whatever --jobs is.
#[derive(Debug, ClapArgs)]
#[command(after_help = format!("{KERNEL_HELP}\n\n\
Exit status:
  0  everything was done
  1  everything was done; some relocation of an object has no answer on some kernel, and nothing in the object guards it
  2  some input failed, or nothing could be done; what the other inputs gave is written"))]
pub struct Gen {
    /// The kernels
    #[arg(required = true, value_name = "KERNEL")]
    pub kernels: Vec<PathBuf>,
    /// A BPF object whose relocations the result must serve; can be given several times
    #[arg(long, value_name = "FILE")]
    pub obj: Vec<PathBuf>,
    /// Where results go
    #[command(flatten)]
    pub output: Output,
    /// How the files of a folder are compressed
    #[arg(long, value_enum, default_value_t = CompressArg::None, conflicts_with = "pack", value_name = "HOW")]
    pub compress: CompressArg,
    /// Threads [default: one for each processor]
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    pub jobs: Option<u16>,
    /// The oldest kernel that is to read the BTF: kinds that are newer are left out when DWARF is encoded (FLOAT 5.13,
    /// DECL_TAG 5.16, TYPE_TAG 5.17, ENUM64 6.0); BTF that is there and has them is an error
    #[arg(long, default_value = "latest", value_name = "VERSION")]
    pub compat: CompatArg,
    /// Where a kernel's types are taken from
    #[arg(long, value_enum, default_value_t = FromArg::Auto, value_name = "SOURCE")]
    pub from: FromArg,
    /// The kernel's name, instead of what the input tells; for one KERNEL
    #[arg(long, value_name = "DISTRO/VERSION/ARCH/RELEASE")]
    pub id: Option<KernelId>,
    /// Take the kernel's modules too: from the package, the folder, or the running kernel. Each gives split BTF, as
    /// <release>/<module>.btf or in the pack; with --obj, what the objects need of modules goes into
    /// the kernel's. Module files that are named are
    /// taken anyhow, and go with the kernel of their release
    #[arg(long)]
    pub modules: bool,
    /// Keep the attach surface too (which functions can be probed), as <release>.surface or in the pack; needs DWARF
    #[arg(long)]
    pub surface: bool,
    /// With --obj, keep also what lcc's loader looks up by name before it loads them: functions that they are attached to with
    /// what these take, tracepoints, and which helpers, map types and program types of theirs the kernel has. Without, it can tell
    /// of a kernel only what it tries out
    #[arg(long, requires = "obj")]
    pub plan: bool,
    /// Work on a part of the inputs: number I of N, from 0. The inputs are dealt out in turn in their order, so every
    /// machine must be given the same arguments
    #[arg(long, default_value_t = Shard::WHOLE, value_name = "I/N", hide_default_value = true)]
    pub shard: Shard,
    /// Do everything anew, also what is kept from a run before
    #[arg(long)]
    pub fresh: bool,
    /// Take anything that is not quite right with an input as its failure
    #[arg(long)]
    pub strict: bool,
    /// Print a report as JSON instead of the table
    #[arg(long)]
    pub json: bool,
    /// Where `running` finds /sys, /proc and /etc
    #[arg(long, default_value = "/", hide = true)]
    pub root: PathBuf,
}

/// Where results go.
#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub struct Output {
    /// A folder, in BTFHub's layout <distro>/<version>/<arch>/<release>.btf; or, when it ends in .btf or .btf.tar.xz, one
    /// file for one kernel; or - for standard output
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// One content-addressed archive: equal results are stored once. It has the kernels of this run, and no others. A file
    /// that is no pack is never replaced
    #[arg(long, value_name = "FILE")]
    pub pack: Option<PathBuf>,
}

impl Gen {
    /// Where results go.
    pub fn destination(&self) -> Destination {
        let compress = match self.compress {
            CompressArg::None => Compress::None,
            CompressArg::TarXz => Compress::TarXz,
        };
        match (&self.output.output, &self.output.pack) {
            (_, Some(pack)) => Destination::Pack(pack.clone()),
            (Some(path), _) if path.as_os_str() == "-" => Destination::Stdout,
            (Some(path), _) => {
                let name = path.as_os_str().as_encoded_bytes();
                if path.is_dir() || name.ends_with(b"/") {
                    Destination::Layout { folder: path.clone(), compress }
                } else if name.ends_with(b".btf") {
                    Destination::File { path: path.clone(), compress }
                } else if name.ends_with(b".btf.tar.xz") {
                    Destination::File { path: path.clone(), compress: Compress::TarXz }
                } else {
                    Destination::Layout { folder: path.clone(), compress }
                }
            }
            // The group requires one of them.
            (None, None) => Destination::Stdout,
        }
    }
}

/// `--compress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompressArg {
    /// <release>.btf
    None,
    /// <release>.btf.tar.xz, as BTFHub has them
    TarXz,
}

/// `--from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FromArg {
    /// What is best for the command: `gen` takes DWARF where there is any, the others BTF where there is any
    Auto,
    /// DWARF
    Dwarf,
    /// The kernel's own BTF
    Btf,
}

impl From<FromArg> for Source {
    fn from(from: FromArg) -> Self {
        match from {
            FromArg::Auto => Source::Auto,
            FromArg::Dwarf => Source::Dwarf,
            FromArg::Btf => Source::Btf,
        }
    }
}

/// `--compat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompatArg(pub Compat);

impl FromStr for CompatArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "latest" {
            return Ok(CompatArg(Compat::LATEST));
        }
        let number = |text: &str| text.parse::<u32>().ok();
        match text.split_once('.').and_then(|(major, minor)| Some((number(major)?, number(minor)?))) {
            // Linux 5.2 reads DATASEC and VAR, which every result may have.
            Some((major, minor)) if (major, minor) >= (5, 2) => Ok(CompatArg(Compat::kernel(major, minor))),
            _ => Err("a kernel version from 5.2 on, as 5.15, or latest"),
        }
    }
}

/// Tell which program of which object works on which kernel, without booting any.
///
/// What each program needs is inferred from the object: its section, its CO-RE relocations, the helpers, kernel functions and
/// maps in the instructions that can be reached, the arguments that it reads. The kernel's debug information tells what is
/// there. What it does not tell is unknown, and not a failure.
#[derive(Debug, ClapArgs)]
#[command(after_help = format!("{KERNEL_HELP}\n  a pack              all kernels of it; minimal BTF tells of relocations only\n\n\
Exit status:
  0  all that the objects need works on all kernels, as far as is known
  1  something that an object needs does not work on some kernel
  2  some input failed"))]
pub struct Check {
    /// The kernels
    #[arg(required = true, value_name = "KERNEL")]
    pub kernels: Vec<PathBuf>,
    /// A BPF object; can be given several times
    #[arg(long, value_name = "FILE", required = true)]
    pub obj: Vec<PathBuf>,
    /// Where a kernel's functions are from: `btf` does not read its DWARF, and does not know which are inlined
    #[arg(long, value_enum, default_value_t = FromArg::Auto, value_name = "SOURCE")]
    pub from: FromArg,
    /// Print the plans as JSON instead of the table
    #[arg(long)]
    pub json: bool,
    /// Write them for a CI system too
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write them as a page that needs no other file too
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Threads [default: one for each processor]
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    pub jobs: Option<u16>,
    /// Where `running` finds /sys, /proc and /etc
    #[arg(long, default_value = "/", hide = true)]
    pub root: PathBuf,
}

/// How the types of an input are read, for the commands that print them.
#[derive(Debug, Clone, ClapArgs)]
pub struct Reading {
    /// Where the types are taken from
    #[arg(long, value_enum, default_value_t = FromArg::Auto, value_name = "SOURCE")]
    pub from: FromArg,
    /// The kernel that split BTF (a module's) builds on; for a module of the running kernel that is found without
    #[arg(short = 'B', long, value_name = "KERNEL")]
    pub base: Option<PathBuf>,
    /// Threads [default: one for each processor]
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    pub jobs: Option<u16>,
    /// Where `running` finds /sys, /proc and /etc
    #[arg(long, default_value = "/", hide = true)]
    pub root: PathBuf,
}

/// Print the types of a kernel, a module or a BPF object.
///
/// As a C header, or in the formats of `bpftool btf dump`.
#[derive(Debug, ClapArgs)]
#[command(after_help = format!("{KERNEL_HELP}\n\nHere also a module, or a BPF object.\n\n\
Exit status: 0 done, 1 a named type is not there, 2 an error."))]
pub struct Dump {
    /// The kernel
    #[arg(value_name = "KERNEL")]
    pub kernel: PathBuf,
    /// Only these types, and in a C header what they need: a name, or `struct NAME`, `union NAME`, `enum NAME`
    #[arg(value_name = "TYPE")]
    pub types: Vec<String>,
    /// The format
    #[arg(short, long, value_enum, default_value_t = Format::C)]
    pub format: Format,
    /// How the types are read
    #[command(flatten)]
    pub reading: Reading,
}

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A C header
    C,
    /// One type after the other, as `bpftool btf dump` prints them
    Raw,
    /// The same as JSON
    Json,
}

/// Print where the members of a struct are, their sizes, and the holes between them.
#[derive(Debug, ClapArgs)]
#[command(after_help = format!("{KERNEL_HELP}\n\nHere also a module, or a BPF object.\n\n\
Exit status: 0 done, 1 a kernel does not have the type, 2 an error."))]
pub struct Layout {
    /// The struct, union, or typedef of one: a name, or `struct NAME`, `union NAME`
    #[arg(value_name = "TYPE")]
    pub name: String,
    /// The kernels
    #[arg(value_name = "KERNEL", required = true)]
    pub kernels: Vec<PathBuf>,
    /// As which tool prints it
    #[arg(long, value_enum, default_value_t = Style::Gdb)]
    pub style: Style,
    /// Print JSON
    #[arg(long, conflicts_with = "style")]
    pub json: bool,
    /// Bytes of a cache line, whose boundaries pahole's style marks
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..), value_name = "BYTES")]
    pub cacheline: u32,
    /// How the types are read
    #[command(flatten)]
    pub reading: Reading,
}

/// `--style`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Style {
    /// As gdb's `ptype /o`, with the members of nested structs
    Gdb,
    /// As `pahole`, with cache lines
    Pahole,
}

/// Print what changed from one kernel to another: types, functions, variables.
#[derive(Debug, ClapArgs)]
#[command(after_help = format!("{KERNEL_HELP}\n\nHere also a module, or a BPF object.\n\n\
Exit status: 0 nothing differs, 1 something does, 2 an error."))]
pub struct Diff {
    /// The kernel before
    #[arg(value_name = "OLD")]
    pub old: PathBuf,
    /// The kernel after
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// Only these names: `NAME`, or `struct NAME`, `func NAME` and so on, with the words that the output has
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// How the types are read
    #[command(flatten)]
    pub reading: Reading,
}

/// Merge packs and folders into one.
///
/// The result has the kernels of all inputs, and is the same as if one run had made it. Inputs that have one kernel with
/// different results are an error.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Exit status: 0 done, 2 an error, the output being as it was.")]
pub struct Merge {
    /// Packs, and folders in BTFHub's layout
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,
    /// Where results go
    #[command(flatten)]
    pub output: MergeOutput,
    /// Threads [default: one for each processor]
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    pub jobs: Option<u16>,
}

/// Where merged results go.
#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub struct MergeOutput {
    /// A folder, where one of that name exists, it ends in a slash, or all inputs are folders; else a pack
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// A pack
    #[arg(long, value_name = "FILE")]
    pub pack: Option<PathBuf>,
}

/// What can be done with a pack.
#[derive(Debug, Subcommand)]
pub enum PackCommand {
    /// Print the kernels of a pack, with the hash of their BTF
    List {
        /// The pack
        pack: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a kernel's BTF out of a pack; exit status 1 where it does not have it
    Get {
        /// The pack
        pack: PathBuf,
        /// The kernel
        #[arg(value_name = "DISTRO/VERSION/ARCH/RELEASE")]
        kernel: KernelId,
        /// The split BTF of this module
        #[arg(long, default_value = "", hide_default_value = true)]
        module: String,
        /// The attach surface instead of the BTF
        #[arg(long)]
        surface: bool,
        /// The file, or - for standard output
        #[arg(short, long, default_value = "-", value_name = "FILE")]
        output: PathBuf,
    },
    /// Check every byte of a pack, and that its contents are BTF
    Verify {
        /// The packs
        #[arg(required = true)]
        packs: Vec<PathBuf>,
    },
}

/// Threads to use: those asked for, or one for each processor.
pub fn jobs(asked: Option<u16>) -> usize {
    asked.map_or_else(|| std::thread::available_parallelism().map_or(1, Into::into), usize::from)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[track_caller]
    fn check_destination(args: &[&str], expected: Destination) {
        let args = [&["lcc-btf", "gen", "k"], args].concat();
        let Command::Gen(args) = Args::try_parse_from(args).unwrap().command else { panic!() };
        assert_eq!(args.destination(), expected);
    }

    #[test]
    fn the_output_tells_what_it_is() {
        let file = |path: &str, compress| Destination::File { path: path.into(), compress };
        let folder = |path: &str, compress| Destination::Layout { folder: path.into(), compress };
        check_destination(&["-o", "x.btf"], file("x.btf", Compress::None));
        check_destination(&["-o", "x.btf.tar.xz"], file("x.btf.tar.xz", Compress::TarXz));
        check_destination(&["-o", "out"], folder("out", Compress::None));
        check_destination(&["-o", "out.btf/"], folder("out.btf/", Compress::None));
        check_destination(&["-o", "out", "--compress", "tar-xz"], folder("out", Compress::TarXz));
        check_destination(&["-o", "-"], Destination::Stdout);
        check_destination(&["--pack", "x"], Destination::Pack("x".into()));
    }

    #[test]
    fn versions_are_read() {
        assert_eq!("latest".parse(), Ok(CompatArg(Compat::LATEST)));
        assert_eq!("5.2".parse(), Ok(CompatArg(Compat::kernel(5, 2))));
        for bad in ["", "5", "4.19", "5.x", "newest"] {
            assert!(bad.parse::<CompatArg>().is_err(), "{bad}");
        }
    }
}
