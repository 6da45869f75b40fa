//! Which kernels and which newer tools the project measures itself on. A new line is a new row.

use apt::Suite;

/// A kernel line of one architecture, of which the newest debug package is wanted.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) struct WantedKernel {
    /// `major.minor`, or `None` for whatever is newest in the suite.
    pub(crate) line: Option<&'static str>,
    pub(crate) suite: Suite,
    /// Debian's name for the architecture.
    pub(crate) architecture: &'static str,
}

impl WantedKernel {
    /// The end of the package's name: the architecture's, but for i386, which has several.
    pub(crate) fn flavour(&self) -> &'static str {
        match self.architecture {
            "i386" => "686-pae",
            other => other,
        }
    }
}

const fn kernel(line: Option<&'static str>, suite: Suite, architecture: &'static str) -> WantedKernel {
    WantedKernel { line, suite, architecture }
}

pub(crate) const KERNELS: &[WantedKernel] = &[
    kernel(Some("5.10"), Suite::BULLSEYE, "amd64"),
    kernel(Some("5.10"), Suite::BULLSEYE, "arm64"),
    kernel(Some("5.10"), Suite::BULLSEYE, "i386"),
    kernel(Some("6.1"), Suite::BOOKWORM, "amd64"),
    kernel(Some("6.1"), Suite::BOOKWORM, "arm64"),
    kernel(Some("6.1"), Suite::BOOKWORM, "i386"),
    kernel(Some("6.1"), Suite::BOOKWORM, "s390x"),
    kernel(Some("6.12"), Suite::TRIXIE, "amd64"),
    kernel(Some("6.12"), Suite::TRIXIE, "arm64"),
    kernel(None, Suite::TRIXIE, "amd64"),
    kernel(None, Suite::TRIXIE, "arm64"),
];

/// A program of a newer suite, unpacked beside the system with all its libraries, never installed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WantedTool {
    pub(crate) package: &'static str,
    pub(crate) suite: Suite,
    /// Where the program is in the package.
    pub(crate) program: &'static str,
}

pub(crate) const TOOLS: &[WantedTool] = &[
    WantedTool { package: "pahole", suite: Suite::TRIXIE, program: "usr/bin/pahole" },
    WantedTool { package: "pahole", suite: Suite::SID, program: "usr/bin/pahole" },
    WantedTool { package: "bpftool", suite: Suite::SID, program: "usr/sbin/bpftool" },
];
