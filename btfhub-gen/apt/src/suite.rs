//! Debian's suites.

/// A Debian suite and the pockets beside it that are worth asking.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Suite {
    /// The code name, as in an apt source.
    pub name: &'static str,
    /// Is there a `<name>-security` on the security mirror?
    pub security: bool,
    /// Is there a `<name>-backports` on the main mirror?
    pub backports: bool,
}

impl Suite {
    /// Debian 11.
    pub const BULLSEYE: Suite = Suite { name: "bullseye", security: true, backports: false };
    /// Debian 12.
    pub const BOOKWORM: Suite = Suite { name: "bookworm", security: true, backports: false };
    /// Debian 13.
    pub const TRIXIE: Suite = Suite { name: "trixie", security: true, backports: true };
    /// What will be Debian 14.
    pub const FORKY: Suite = Suite { name: "forky", security: false, backports: false };
    /// What has no release.
    pub const SID: Suite = Suite { name: "sid", security: false, backports: false };
    /// All of them, oldest first.
    pub const ALL: [Suite; 5] = [Suite::BULLSEYE, Suite::BOOKWORM, Suite::TRIXIE, Suite::FORKY, Suite::SID];

    /// A suite by its code name.
    #[must_use]
    pub fn of(name: &str) -> Option<Suite> {
        Suite::ALL.into_iter().find(|suite| suite.name == name)
    }
}

/// Every name of a suite, to tell Debian's apt sources from others'.
pub(crate) const CODE_NAMES: &[&str] =
    &["bullseye", "bookworm", "trixie", "forky", "sid", "stable", "oldstable", "testing", "unstable"];
