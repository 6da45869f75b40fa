//! What is known of a kernel's name, before all of it is.

use pack::{InvalidKernelId, KernelId};

use crate::input::distro::{self, Distro};

/// Stands for a distribution or a version that nothing tells, as of a kernel somebody built.
pub const UNKNOWN: &str = "unknown";

/// The architectures by which a path of BTFHub's layout is known to be one.
const ARCHITECTURES: [&str; 9] =
    ["x86_64", "arm64", "i386", "arm", "s390x", "ppc64le", "ppc64", "riscv64", "loongarch64"];

/// The parts of a [`KernelId`] that an input tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Distribution and its version.
    pub distro: Option<Distro>,
    /// Architecture in BTFHub's spelling.
    pub arch: Option<String>,
    /// What `uname -r` prints.
    pub release: Option<String>,
}

impl Identity {
    /// The parts that `self` does not know, from `other`.
    pub fn or(self, other: Identity) -> Identity {
        Identity {
            distro: self.distro.or(other.distro),
            arch: self.arch.or(other.arch),
            release: self.release.or(other.release),
        }
    }

    /// The kernel's name. Distribution and version may be [`UNKNOWN`]; architecture and release may not.
    ///
    /// # Errors
    /// The release or the architecture is not known (`Ok(None)` within), or a part has characters that a name cannot have.
    pub fn complete(&self) -> Result<Option<KernelId>, InvalidKernelId> {
        let (Some(arch), Some(release)) = (&self.arch, &self.release) else { return Ok(None) };
        let (distro, version) = match &self.distro {
            Some(distro) => (&*distro.name, &*distro.version),
            None => (UNKNOWN, UNKNOWN),
        };
        KernelId::new(distro, version, arch, release).map(Some)
    }

    /// What a raw BTF's release tells, which is its name: `4.18.0-147.el8.x86_64` of `4.18.0-147.el8.x86_64.btf`.
    pub fn of_release(release: &str) -> Identity {
        let end = release.rsplit(['.', '-']).next().map(pack::arch_of_name);
        let distro = distro::distro(distro::Evidence { release, ..Default::default() });
        let plausible = release.starts_with(|c: char| c.is_ascii_digit());
        Identity {
            distro,
            arch: end.filter(|arch| ARCHITECTURES.contains(arch)).map(str::to_owned),
            release: plausible.then(|| release.to_owned()),
        }
    }

    /// What a path in BTFHub's layout tells: `…/<distro>/<version>/<arch>/<release>.btf`, also `.btf.tar.xz`.
    ///
    /// `path` must end in one of these; other paths tell nothing. The third folder must be an architecture.
    pub fn of_path(path: &std::path::Path) -> Option<Identity> {
        let name = path.file_name()?.to_str()?;
        let stem = name.strip_suffix(".tar.xz").unwrap_or(name).strip_suffix(".btf")?;
        let mut folders = path.parent()?.components().rev().map_while(|c| match c {
            std::path::Component::Normal(name) => name.to_str(),
            _ => None,
        });
        let (arch, version, distro) = (folders.next()?, folders.next()?, folders.next()?);
        let known = ARCHITECTURES.contains(&arch);
        known.then(|| Identity {
            distro: Some(Distro { name: distro.to_owned(), version: version.to_owned() }),
            arch: Some(arch.to_owned()),
            release: Some(stem.to_owned()),
        })
    }
}

impl From<&KernelId> for Identity {
    fn from(id: &KernelId) -> Self {
        Identity {
            distro: Some(Distro { name: id.distro().to_owned(), version: id.version().to_owned() }),
            arch: Some(id.arch().to_owned()),
            release: Some(id.release().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Option<&str>) {
        let id = Identity::of_path(Path::new(path)).map(|i| i.complete().unwrap().unwrap().to_string());
        assert_eq!(id.as_deref(), expected);
    }

    #[test]
    fn a_release_tells_what_it_can() {
        let check = |release: &str, expected: Option<&str>| {
            let id = Identity::of_release(release).complete().unwrap().map(|id| id.to_string());
            assert_eq!(id.as_deref(), expected);
        };
        check("4.18.0-348.2.1.an8_4.x86_64", Some("anolis/8/x86_64/4.18.0-348.2.1.an8_4.x86_64"));
        check("6.1.0-18-cloud-amd64", Some("unknown/unknown/x86_64/6.1.0-18-cloud-amd64"));
        check("4.18.0-147.5.1.el8_1.aarch64", Some("rhel/8/arm64/4.18.0-147.5.1.el8_1.aarch64"));
        check("6.6.1", None);
        check("vmlinux", None);
    }

    #[test]
    fn btfhub_paths_tell_the_kernel() {
        let release = "4.18.0-147.5.1.el8_1.aarch64";
        check(&format!("/a/centos/8/arm64/{release}.btf.tar.xz"), Some(&format!("centos/8/arm64/{release}")));
        check(&format!("centos/8/arm64/{release}.btf"), Some(&format!("centos/8/arm64/{release}")));
        check(&format!("8/arm64/{release}.btf"), None);
        check("some/folder/of/mine.btf", None);
        check("debian/12/x86_64/vmlinux", None);
        check("x.btf", None);
    }
}
