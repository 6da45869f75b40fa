//! The smallest rpm package that has a file, for a seed: Debian's own tools make none.
//!
//! The format: <https://rpm-software-management.github.io/rpm/manual/format_v4.html>.

/// A tag's number, type and values.
struct Tag(u32, u32, Vec<Vec<u8>>);

const INT32: u32 = 4;
const STRING: u32 = 6;
const STRING_ARRAY: u32 = 8;

/// A package with one file; `payload` is its cpio archive, compressed or not.
pub(crate) fn package(folder: &str, file: &str, size: u32, payload: &[u8]) -> Vec<u8> {
    let text = |text: &str| vec![[text.as_bytes(), b"\0"].concat()];
    let number = |number: u32| vec![number.to_be_bytes().to_vec()];
    let tags = [
        Tag(1000, STRING, text("kernel-debuginfo")),
        Tag(1001, STRING, text("1.2.3")),
        Tag(1002, STRING, text("4.el9")),
        Tag(1011, STRING, text("Red Hat, Inc.")),
        Tag(1022, STRING, text("x86_64")),
        Tag(1028, INT32, number(size)),
        Tag(1116, INT32, number(0)),
        Tag(1117, STRING_ARRAY, text(file)),
        Tag(1118, STRING_ARRAY, text(folder)),
    ];
    let mut package = vec![0xed, 0xab, 0xee, 0xdb, 3, 0];
    package.resize(96, 0);
    package.extend(header(&[]));
    package.extend(header(&tags));
    package.extend(payload);
    package
}

/// Magic, counts, the index of 16 bytes a tag, and the values.
fn header(tags: &[Tag]) -> Vec<u8> {
    let mut index = Vec::new();
    let mut store: Vec<u8> = Vec::new();
    for Tag(number, kind, values) in tags {
        if *kind == INT32 {
            store.resize(store.len().next_multiple_of(4), 0);
        }
        for word in [*number, *kind, store.len() as u32, values.len() as u32] {
            index.extend(word.to_be_bytes());
        }
        store.extend(values.concat());
    }
    let mut header = vec![0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
    header.extend((tags.len() as u32).to_be_bytes());
    header.extend((store.len() as u32).to_be_bytes());
    [header, index, store].concat()
}

/// A cpio archive of one file in the "newc" format, see cpio(5).
pub(crate) fn cpio(path: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (path, content) in [(path, content), ("TRAILER!!!", &[][..])] {
        // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
        let fields = [1, 0o100_644, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, path.len() + 1, 0];
        archive.extend(b"070701");
        archive.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
        archive.extend(path.as_bytes());
        archive.push(0);
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(content);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}
