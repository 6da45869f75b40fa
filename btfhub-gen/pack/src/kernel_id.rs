//! The name of a kernel, as BTFHub's layout spells it.

use std::fmt;
use std::str::FromStr;

/// Which kernel a BTF belongs to: BTFHub's `<distro>/<version>/<arch>/<release>`.
///
/// The order is that of the four parts, byte by byte: the order of a pack's index and of every report.
///
/// Each part is 1 to 255 printable ASCII characters without `/` and `\`, and starts with a letter or a digit; so an id
/// can be used as a relative path without ever leaving the folder it is joined to.
///
/// ```
/// let id: pack::KernelId = "debian/12/x86_64/6.1.0-18-cloud-amd64".parse()?;
/// assert_eq!(id.release(), "6.1.0-18-cloud-amd64");
/// assert!("debian/12/../6.1.0".parse::<pack::KernelId>().is_err());
/// # Ok::<(), pack::InvalidKernelId>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelId {
    distro: String,
    version: String,
    arch: String,
    release: String,
}

/// BTFHub's spelling of an architecture that Debian, rpm or `uname -m` names: that of a [`KernelId`].
#[must_use]
pub fn arch_of_name(name: &str) -> &str {
    match name {
        "amd64" | "x86-64" => "x86_64",
        "aarch64" | "aarch64_be" => "arm64",
        "i486" | "i586" | "i686" => "i386",
        "armhf" | "armel" | "armv7l" | "armv7hl" | "armv6l" => "arm",
        "ppc64el" => "ppc64le",
        other => other,
    }
}

/// Why a text is no [`KernelId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKernelId {
    /// The text has not four parts.
    #[error("`{0}` is not of the form distro/version/arch/release")]
    Parts(String),
    /// A part is empty, too long, or has a character that is not allowed.
    #[error("`{part}` is no valid {what} of a kernel")]
    Part {
        /// `distribution`, `version`, `architecture` or `release`.
        what: &'static str,
        /// The refused text, escaped.
        part: String,
    },
}

impl KernelId {
    /// Makes an id of its four parts.
    ///
    /// # Errors
    /// A part is empty, longer than 255 bytes, or has a character that is not allowed.
    pub fn new(
        distro: impl Into<String>,
        version: impl Into<String>,
        arch: impl Into<String>,
        release: impl Into<String>,
    ) -> Result<Self, InvalidKernelId> {
        let id =
            KernelId { distro: distro.into(), version: version.into(), arch: arch.into(), release: release.into() };
        check_part("distribution", &id.distro)?;
        check_part("version", &id.version)?;
        check_part("architecture", &id.arch)?;
        check_part("release", &id.release)?;
        Ok(id)
    }

    /// An id of parts that were checked before.
    pub(crate) fn from_checked(distro: &str, version: &str, arch: &str, release: &str) -> Self {
        let [distro, version, arch, release] = [distro, version, arch, release].map(str::to_owned);
        KernelId { distro, version, arch, release }
    }

    /// Distribution, such as `debian`.
    pub fn distro(&self) -> &str {
        &self.distro
    }

    /// Version of the distribution, such as `12`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Architecture in BTFHub's spelling, such as `x86_64` or `arm64`.
    pub fn arch(&self) -> &str {
        &self.arch
    }

    /// The kernel's release, what `uname -r` prints, such as `6.1.0-18-cloud-amd64`.
    pub fn release(&self) -> &str {
        &self.release
    }
}

/// Whether `part` may stand as one part of a kernel id.
pub(crate) fn check_part(what: &'static str, part: &str) -> Result<(), InvalidKernelId> {
    let first = part.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = part.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b'\\');
    if first && rest && part.len() <= 255 {
        return Ok(());
    }
    Err(InvalidKernelId::Part { what, part: part.escape_debug().take(64).collect() })
}

impl fmt::Display for KernelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.distro, self.version, self.arch, self.release)
    }
}

impl FromStr for KernelId {
    type Err = InvalidKernelId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            [distro, version, arch, release] => KernelId::new(distro, version, arch, release),
            _ => Err(InvalidKernelId::Parts(text.escape_debug().take(256).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Debian's 6.1.0-50-686-pae says i686 of itself.
    #[test]
    fn architectures_have_one_spelling() {
        let check = |name, expected| assert_eq!(arch_of_name(name), expected);
        check("x86_64", "x86_64");
        check("i686", "i386");
        check("aarch64", "arm64");
        check("armv7l", "arm");
        check("s390x", "s390x");
    }

    #[track_caller]
    fn check(text: &str, expected: Result<(), &str>) {
        let got = text.parse::<KernelId>();
        match (got, expected) {
            (Ok(id), Ok(())) => assert_eq!(id.to_string(), text),
            (Err(e), Err(message)) => assert_eq!(e.to_string(), message),
            (got, expected) => panic!("{text}: {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn an_id_is_four_safe_parts() {
        check("debian/12/x86_64/6.1.0-18-cloud-amd64", Ok(()));
        check("debian/13/arm64/6.12.9+deb13-arm64", Ok(()));
        check("kylin/V10/arm64/4.19.90-24.4.v2101.ky10.aarch64", Ok(()));
        check("fedora/39/x86_64", Err("`fedora/39/x86_64` is not of the form distro/version/arch/release"));
        check("a/../b/c", Err("`..` is no valid version of a kernel"));
        check("a//b/c", Err("`` is no valid version of a kernel"));
        check("a/1/b/c d", Err("`c d` is no valid release of a kernel"));
        check("a/1/b/\x1b[31m", Err("`\\u{1b}[31m` is no valid release of a kernel"));
    }

    #[test]
    fn ids_are_ordered_by_their_parts() {
        let mut ids: Vec<KernelId> = ["b/1/x/1", "a/2/x/1", "a/1/y/2", "a/1/x/3"].map(|s| s.parse().unwrap()).into();
        ids.sort();
        assert_eq!(ids.iter().map(|i| i.to_string()).collect::<Vec<_>>(), ["a/1/x/3", "a/1/y/2", "a/2/x/1", "b/1/x/1"]);
    }
}
