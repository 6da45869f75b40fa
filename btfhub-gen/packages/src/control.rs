//! The control file of a Debian package: `deb-control(5)`.

use crate::entries::Archive;
use crate::fault::Fault;
use crate::region::Region;
use crate::tar::TarReader;
use crate::{ar, stream};

/// A control file is never larger in good faith.
const LARGEST: u64 = 1 << 20;

/// What a Debian package says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `linux-image-6.1.0-18-amd64-dbg`
    pub package: String,
    /// `6.1.76-1`
    pub version: String,
    /// `amd64`
    pub architecture: String,
    /// `Debian Kernel Team <debian-kernel@lists.debian.org>`
    pub maintainer: String,
}

impl Metadata {
    /// Reads the fields; those that are not there are empty.
    pub fn parse(text: &str) -> Self {
        let mut metadata = Metadata::default();
        for line in text.lines() {
            // A continuation line begins with a space.
            let Some((key, value)) = line.split_once(':').filter(|(key, _)| !key.starts_with([' ', '\t'])) else {
                continue;
            };
            let field = match key.to_ascii_lowercase().as_str() {
                "package" => &mut metadata.package,
                "version" => &mut metadata.version,
                "architecture" => &mut metadata.architecture,
                "maintainer" => &mut metadata.maintainer,
                _ => continue,
            };
            *field = value.trim().to_owned();
        }
        metadata
    }
}

/// A Debian package: what it says of itself, and its content.
#[derive(Debug, Clone)]
pub struct Package<'a> {
    /// From the control file.
    pub metadata: Metadata,
    /// Name of the member with the content, such as `data.tar.xz`.
    pub data_name: String,
    /// That member.
    pub data: Region<'a>,
}

/// Opens a `.deb` or `.ddeb`.
///
/// # Errors
/// It is no Debian package, or damaged before its content; the region cannot be read.
pub fn open(region: Region<'_>) -> Result<Package<'_>, Fault> {
    let members = ar::members(region)?;
    if members.first().is_none_or(|m| m.name != "debian-binary") {
        return Err(Fault::malformed("ar header", 8, "no Debian package: the first member is not debian-binary"));
    }
    let find = |prefix: &str| {
        let member = members.iter().find(|m| m.name.starts_with(prefix));
        member.ok_or_else(|| {
            Fault::malformed("ar header", region.len(), format!("truncated: no {prefix} in the package"))
        })
    };
    let control = find("control.tar")?;
    let data = find("data.tar")?;
    let mut tar = TarReader::new(stream::open(control.content, &control.name, 1)?);
    let mut metadata = None;
    while let Some(entry) = tar.next()? {
        if entry.name.trim_start_matches("./") == "control" {
            if entry.size > LARGEST {
                return Err(Fault::malformed(&control.name, 0, format!("a control file of {} bytes", entry.size)));
            }
            metadata = Some(Metadata::parse(&String::from_utf8_lossy(&tar.take()?)));
            break;
        }
    }
    let metadata = metadata.ok_or_else(|| Fault::malformed(&control.name, 0, "no control file in it"))?;
    Ok(Package { metadata, data_name: data.name.clone(), data: data.content })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        let text = "Package: linux-image-6.1.0-18-amd64-dbg\nsource: linux\nVersion: 6.1.76-1\nArchitecture: amd64\n\
                    Description: Debug symbols\n Version: not this\n";
        let expected = Metadata {
            package: "linux-image-6.1.0-18-amd64-dbg".into(),
            version: "6.1.76-1".into(),
            architecture: "amd64".into(),
            maintainer: String::new(),
        };
        assert_eq!(Metadata::parse(text), expected);
    }
}
