//! The command line.

use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand};

/// Load what of a BPF object works on this kernel, and explain the rest.
#[derive(Debug, Parser)]
#[command(name = "lcc-load", version, max_term_width = 120)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print what is known of this kernel, as JSON: what it says of itself, and what was tried out
    Facts {
        /// With the kernel's types in it: all that `plan --facts` needs elsewhere, some megabytes
        #[arg(long)]
        with_btf: bool,
    },
    /// Print the plan of an object, and load nothing.
    ///
    /// Exit status: 0 all that the object needs works as far as is known, 1 it does not, 2 an error.
    Plan(Plan),
    /// Load each program of objects by itself, and hold the plan against what the kernel does.
    ///
    /// Exit status: 0 the kernel did as predicted, 1 it did otherwise with some program, 2 an error.
    Verify {
        /// The objects
        #[arg(required = true)]
        objects: Vec<PathBuf>,
    },
    /// Load and attach what works of an object, say what came of it, and print its events.
    ///
    /// Streams of events are the maps that `LCC_STREAM` of lcc.bpf.h declares; their events are printed as the object's types
    /// describe them. It ends with the time given, or with SIGINT or SIGTERM, and then tells how many events were lost, if any.
    ///
    /// Exit status: 0 all that the object needs works, 1 it does not, 2 an error.
    Run(Box<Run>),
    /// Detach and remove what `run --pin` left, of all objects in the folder
    Unpin {
        /// The folder in a BPF file system
        folder: PathBuf,
    },
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

/// What `plan` takes.
#[derive(Debug, Group)]
pub struct Plan {
    /// The object
    pub object: PathBuf,
    /// What is known of the kernel, as `lcc-load facts` printed it; else this machine's
    #[arg(long, value_name = "FILE")]
    pub facts: Option<PathBuf>,
    /// The kernel's BTF, raw or in an ELF file; else that of the facts, or this machine's (LCC_BTF, its own) where no other kernel is
    /// meant
    #[arg(long, visible_alias = "kernel", value_name = "FILE")]
    pub btf: Option<PathBuf>,
    /// How it is told.
    #[command(flatten)]
    pub telling: Telling,
}

/// How a plan is told.
#[derive(Clone, Copy, Debug, Group)]
pub struct Telling {
    /// Print JSON; of `run`, a line for the plan and each event
    #[arg(long)]
    pub json: bool,
    /// Tell also what is met
    #[arg(short, long)]
    pub all: bool,
}

/// What `run` takes.
#[derive(Debug, Group)]
pub struct Run {
    /// The object
    pub object: PathBuf,
    /// Stay attached for so long; 0 only loads and attaches. Else until SIGINT or SIGTERM
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    pub events: Option<u64>,
    /// A value of the configuration (LCC_CONFIG), as threshold_us=100 or ports[0].first=80; can be given several times
    #[arg(long, value_name = "MEMBER=VALUE")]
    pub set: Vec<String>,
    /// The BTF to relocate against; also LCC_BTF. Else the kernel's own, else that of a pack or folder
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,
    /// A pack with BTF for kernels that have none; can be given several times
    #[arg(long, value_name = "FILE")]
    pub pack: Vec<PathBuf>,
    /// A folder in BTFHub's layout; can be given several times
    #[arg(long, value_name = "DIR")]
    pub btf_folder: Vec<PathBuf>,
    /// Take BTF of a near release where there is none of this one
    #[arg(long)]
    pub near: bool,
    /// Attach a program to something else than its section names, as read=vfs_readv or entry=/usr/bin/app:main; can be given
    /// several times
    #[arg(long, value_name = "PROGRAM=TARGET")]
    pub target: Vec<String>,
    /// Do not enable a program, whether it works or not; can be given several times
    #[arg(long, value_name = "PROGRAM")]
    pub without: Vec<String>,
    /// The control group for programs that are attached to one; else the root of the unified hierarchy
    #[arg(long, value_name = "DIR")]
    pub cgroup: Option<PathBuf>,
    /// The process whose calls uprobes see; else all
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// A database of offsetdb, for uprobes on functions that a file has no symbol of
    #[arg(long, value_name = "FILE")]
    pub offsets: Option<PathBuf>,
    /// Entries of a map, or bytes of a ring buffer, in place of the object's; can be given several times
    #[arg(long, value_name = "MAP=N")]
    pub map_entries: Vec<String>,
    /// Leave everything attached and pinned in a folder of a BPF file system; the same again is found there and not loaded anew
    #[arg(long, value_name = "DIR")]
    pub pin: Option<PathBuf>,
    /// How it is told.
    #[command(flatten)]
    pub telling: Telling,
}
