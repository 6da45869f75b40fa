//! The command line.

use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand};

/// Run programs and hold BPF objects against real kernels, in virtual machines; KVM is used where it works, and not needed.
#[derive(Debug, Parser)]
#[command(name = "lcc-vm", version, max_term_width = 120)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Boot kernels, hold objects against each, and run a program there as root.
    ///
    /// The program is taken with the libraries that it needs here; what it prints is printed here. In the machine there are proc, sys,
    /// debugfs, tracefs, a BPF file system, control groups of version 2, and the loopback device is up.
    ///
    /// Exit status: that of the program, where one kernel was asked for; else 0 if it ended with 0 on each and each did with the
    /// objects as predicted, 1 if not. 2 an error.
    Run(Box<Run>),
    /// List the kernels that there are
    List {
        /// A file of kernels, in place of the project's
        #[arg(long, value_name = "FILE")]
        catalogue: Option<PathBuf>,
    },
    /// Write the man pages into a folder
    #[command(hide = true)]
    Man {
        /// The folder
        folder: PathBuf,
    },
    /// Print a shell's completions
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Group)]
pub(crate) struct Run {
    /// The kernel, as `list` names it, or a pattern (`6.1*`); can be given several times
    #[arg(long, value_name = "NAME", required = true)]
    pub(crate) kernel: Vec<String>,
    /// A file of kernels, in place of the project's
    #[arg(long, value_name = "FILE")]
    pub(crate) catalogue: Option<PathBuf>,
    /// An object whose plan is held against each kernel, program by program; can be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) object: Vec<PathBuf>,
    /// A file to put into the machine, and where; else into `/`. Can be given several times
    #[arg(long, value_name = "FILE[=PATH]")]
    pub(crate) file: Vec<String>,
    /// A program of this machine to put into `/bin`, with its libraries; can be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) with: Vec<String>,
    /// A variable for the program; can be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// `lcc-btf`, which makes BTF for kernels without one
    #[arg(long, value_name = "FILE", default_value = "lcc-btf")]
    pub(crate) lcc_btf: PathBuf,
    /// This program, linked statically for another architecture: for kernels of that
    #[arg(long, value_name = "FILE")]
    pub(crate) guest: Option<PathBuf>,
    /// Where packages and kernels stay; else $LCC_CACHE, or lcc in the user's cache folder
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// Where the consoles' logs go
    #[arg(long, value_name = "DIR", default_value = "lcc-vm-logs")]
    pub(crate) logs: PathBuf,
    /// Ask no registry: all is in the cache
    #[arg(long)]
    pub(crate) offline: bool,
    /// Machines at a time
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    pub(crate) jobs: usize,
    /// Seconds that a machine may take
    #[arg(long, value_name = "N", default_value_t = 900)]
    pub(crate) limit: u64,
    /// Print the results as JSON, once all have ended
    #[arg(long)]
    pub(crate) json: bool,
    /// The program, and its arguments
    #[arg(last = true)]
    pub(crate) program: Vec<String>,
}
