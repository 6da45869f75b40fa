//! Which kernels and which newer tools the project measures itself on. A new line is a new row.

/// A Debian suite and the pockets beside it that are worth asking.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) struct Suite {
    /// The code name, as in an apt source.
    pub(crate) name: &'static str,
    /// Is there a `<name>-security` on the security mirror?
    pub(crate) security: bool,
    /// Is there a `<name>-backports` on the main mirror?
    pub(crate) backports: bool,
}

pub(crate) const BULLSEYE: Suite = Suite { name: "bullseye", security: true, backports: false };
pub(crate) const BOOKWORM: Suite = Suite { name: "bookworm", security: true, backports: false };
pub(crate) const TRIXIE: Suite = Suite { name: "trixie", security: true, backports: true };
const SID: Suite = Suite { name: "sid", security: false, backports: false };

/// Every code name, to tell Debian's apt sources from others'.
pub(crate) const CODE_NAMES: &[&str] =
    &["bullseye", "bookworm", "trixie", "forky", "sid", "stable", "oldstable", "testing", "unstable"];

/// A kernel line of one architecture, of which the newest debug package is wanted.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) struct WantedKernel {
    /// `major.minor`, or `None` for whatever is newest in the suite.
    pub(crate) line: Option<&'static str>,
    pub(crate) suite: Suite,
    /// Debian's name for the architecture; the package's flavour has the same name.
    pub(crate) architecture: &'static str,
}

const fn kernel(line: Option<&'static str>, suite: Suite, architecture: &'static str) -> WantedKernel {
    WantedKernel { line, suite, architecture }
}

pub(crate) const KERNELS: &[WantedKernel] = &[
    kernel(Some("5.10"), BULLSEYE, "amd64"),
    kernel(Some("5.10"), BULLSEYE, "arm64"),
    kernel(Some("6.1"), BOOKWORM, "amd64"),
    kernel(Some("6.1"), BOOKWORM, "arm64"),
    kernel(Some("6.1"), BOOKWORM, "s390x"),
    kernel(Some("6.12"), TRIXIE, "amd64"),
    kernel(Some("6.12"), TRIXIE, "arm64"),
    kernel(None, TRIXIE, "amd64"),
    kernel(None, TRIXIE, "arm64"),
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
    WantedTool { package: "pahole", suite: TRIXIE, program: "usr/bin/pahole" },
    WantedTool { package: "pahole", suite: SID, program: "usr/bin/pahole" },
    WantedTool { package: "bpftool", suite: SID, program: "usr/sbin/bpftool" },
];
