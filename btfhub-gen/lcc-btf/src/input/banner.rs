//! The kernel's banner: `Linux version <release> (<builder>) (<compiler>) #<build> … <date>`.

use memchr::memmem;

/// Longer is no banner; the kernel's own `linux_banner` stays below 400 bytes.
const LONGEST: usize = 1024;

/// The kernel's banner, `linux_banner` of `init/version.c`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Banner {
    /// What `uname -r` prints.
    pub release: String,
    /// All of it, without the line's end.
    pub text: String,
}

impl Banner {
    /// The first banner in `rodata`, a kernel's `.rodata` section.
    pub fn find(rodata: &[u8]) -> Option<Self> {
        let prefix = b"Linux version ";
        memmem::find_iter(rodata, prefix).find_map(|at| {
            let text = &rodata[at..(at + LONGEST).min(rodata.len())];
            let text = &text[..text.iter().position(|&b| matches!(b, 0 | b'\n'))?];
            Banner::parse(std::str::from_utf8(text).ok()?)
        })
    }

    /// Reads a banner, as in `/proc/version`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end();
        let (release, rest) = text.strip_prefix("Linux version ")?.split_once(' ')?;
        let plausible =
            release.starts_with(|c: char| c.is_ascii_digit()) && release.bytes().all(|b| b.is_ascii_graphic());
        (plausible && rest.starts_with('(')).then(|| Banner { release: release.to_owned(), text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rodata: &[u8], expected: Option<&str>) {
        assert_eq!(Banner::find(rodata).map(|b| b.release), expected.map(str::to_owned));
    }

    #[test]
    fn the_release_is_found() {
        check(
            b"xx\0Linux version %s (%s)\0Linux version 5.10.0-46-cloud-amd64 (a@b) (gcc-10) #1 SMP Debian 5.10.262-1\n\0",
            Some("5.10.0-46-cloud-amd64"),
        );
        check(
            b"Linux version 4.18.0-147.el8.x86_64 (mockbuild@x) (gcc version 8) #1 SMP\n\0",
            Some("4.18.0-147.el8.x86_64"),
        );
        check(b"Linux version 5.10 (never ends", None);
        check(b"Linux version of something\0", None);
        check(b"", None);
    }
}
