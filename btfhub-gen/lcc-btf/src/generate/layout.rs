//! BTFHub's layout: `<distro>/<version>/<arch>/<release>.btf`, or `.btf.tar.xz`.
//!
//! What BTFHub has no place for stands beside it: the split BTF of a kernel's modules in `<release>/<module>.btf`, the
//! attach surface in `<release>.surface`.

use std::io;

use pack::KernelId;

use packages::tar;

/// How a layout's files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compress {
    /// Not at all: `.btf`.
    None,
    /// As BTFHub has them: `.btf.tar.xz`.
    TarXz,
}

/// Where a kernel's BTF is in the layout, relative to its root.
pub fn path(id: &KernelId, module: &str, compress: Compress) -> String {
    let end = if compress == Compress::TarXz { ".tar.xz" } else { "" };
    match module {
        "" => format!("{id}.btf{end}"),
        module => format!("{id}/{module}.btf{end}"),
    }
}

/// Where a kernel's attach surface is in the layout.
pub fn surface_path(id: &KernelId) -> String {
    format!("{id}.surface")
}

/// The file for a BTF. The same BTF gives the same bytes: no time, no owner.
///
/// # Errors
/// The name is too long for a tar; the encoder fails.
pub fn file(name: &str, btf: &[u8], compress: Compress) -> io::Result<Vec<u8>> {
    match compress {
        Compress::None => Ok(btf.to_vec()),
        Compress::TarXz => {
            let tar = tar::write_file(&format!("{name}.btf"), btf)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidFilename, "name too long for a tar"))?;
            let mut xz = Vec::new();
            // Preset 6 is what `tar -J` uses.
            io::copy(&mut liblzma::bufread::XzEncoder::new(&tar[..], 6), &mut xz)?;
            Ok(xz)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_btfhub() {
        let id: KernelId = "debian/12/x86_64/6.1.0-18-cloud-amd64".parse().unwrap();
        assert_eq!(path(&id, "", Compress::TarXz), "debian/12/x86_64/6.1.0-18-cloud-amd64.btf.tar.xz");
        assert_eq!(path(&id, "nf_tables", Compress::None), "debian/12/x86_64/6.1.0-18-cloud-amd64/nf_tables.btf");
        assert_eq!(surface_path(&id), "debian/12/x86_64/6.1.0-18-cloud-amd64.surface");
    }

    #[test]
    fn what_is_written_is_read() {
        let file = file("6.1.0", b"\x9f\xeb\x01\0content", Compress::TarXz).unwrap();
        let kernel = crate::input::of_bytes(&file, "debian/12/x86_64/6.1.0.btf.tar.xz", &Default::default()).unwrap();
        assert_eq!(kernel.image.own_btf().unwrap(), b"\x9f\xeb\x01\0content");
        assert_eq!(kernel.identity.complete().unwrap().unwrap().to_string(), "debian/12/x86_64/6.1.0");
    }
}
