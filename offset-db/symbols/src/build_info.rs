//! Which Go built a program, of which modules (`.go.buildinfo`; `src/debug/buildinfo/buildinfo.go`).

use image::{Image, Section, VirtualAddress};

/// What Go says of a program that it built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// Go's version: `go1.19.8`.
    pub go: String,
    /// The main package's path, empty where it is not told.
    pub path: String,
    /// The modules in it, path and version, the main one first. A replaced one is told by what replaces it.
    pub modules: Vec<(String, String)>,
    /// How it was built: `GOARCH` `amd64`, `CGO_ENABLED` `1`, `-ldflags`.
    pub settings: Vec<(String, String)>,
}

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Magic, size of an address, flags; in old programs then two addresses of texts; from Go 1.18 on, the texts behind 32 bytes.
const HEADER: usize = 32;

/// Reads what Go says of a program. `None`: it says nothing, or is no Go program.
#[must_use]
pub fn build_info(image: &Image<'_>) -> Option<BuildInfo> {
    let is_info = |section: &&Section<'_>| section.name == b".go.buildinfo";
    let named = image.sections().iter().find(is_info).and_then(|section| read(image, section.data));
    named.or_else(|| {
        image.segments().iter().filter(|segment| !segment.executable).find_map(|segment| {
            let data = image.bytes_from(segment.address);
            let mut places = memchr::memmem::find_iter(data, MAGIC);
            places.find_map(|at| at.is_multiple_of(16).then(|| read(image, &data[at..])).flatten())
        })
    })
}

fn read(image: &Image<'_>, data: &[u8]) -> Option<BuildInfo> {
    const INLINE: u8 = 2;
    if !data.starts_with(MAGIC) || data.len() < HEADER {
        return None;
    }
    let (version, modules) = if data[15] & INLINE != 0 {
        let (version, rest) = counted(&data[HEADER..])?;
        (version, counted(rest).map_or(&[][..], |(modules, _)| modules))
    } else {
        let size = usize::from(data[14]);
        if !matches!(size, 4 | 8) {
            return None;
        }
        let at = |index: usize| text(image, image.number(data.get(16 + index * size..16 + (index + 1) * size)?), size);
        (at(0)?, at(1).unwrap_or_default())
    };
    let mut info = BuildInfo {
        go: String::from_utf8(version.to_vec()).ok().filter(|version| !version.is_empty())?,
        path: String::new(),
        modules: Vec::new(),
        settings: Vec::new(),
    };
    // between 16 bytes on each side, by which other tools find it
    if let Some(text) = modules.get(16..modules.len().saturating_sub(16)).filter(|text| text.ends_with(b"\n")) {
        info.parse(&String::from_utf8_lossy(text));
    }
    Some(info)
}

impl BuildInfo {
    /// Lines of words between tabs: `path`, `mod`, `dep`, `=>`, `build`.
    fn parse(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split('\t');
            match (words.next(), words.next(), words.next()) {
                (Some("path"), Some(path), _) => self.path = path.to_owned(),
                (Some("mod" | "dep"), Some(path), version) => {
                    self.modules.push((path.to_owned(), version.unwrap_or_default().to_owned()));
                }
                (Some("=>"), Some(path), version) => {
                    if let Some(last) = self.modules.last_mut() {
                        *last = (path.to_owned(), version.unwrap_or_default().to_owned());
                    }
                }
                (Some("build"), Some(setting), _) => {
                    let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
                    self.settings.push((name.to_owned(), value.to_owned()));
                }
                _ => {}
            }
        }
    }
}

/// A length (LEB128) and as many bytes, and what is behind them.
fn counted(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0u64;
    for (index, byte) in data.iter().enumerate().take(9) {
        length |= u64::from(byte & 0x7f) << (index * 7);
        if byte & 0x80 == 0 {
            return data[index + 1..].split_at_checked(usize::try_from(length).ok()?);
        }
    }
    None
}

/// A Go text that is loaded somewhere: address and length.
fn text<'d>(image: &Image<'d>, at: u64, size: usize) -> Option<&'d [u8]> {
    let place = VirtualAddress(at);
    let header = image.bytes_at(place, size as u64 * 2)?;
    let (address, length) = (image.number(&header[..size]), image.number(&header[size..]));
    image.bytes_at(VirtualAddress(address), length)
}
