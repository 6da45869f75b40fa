//! HTTP/2 as far as the tests read it (RFC 9113): the payloads of DATA frames, and gRPC's messages in them.

use std::collections::BTreeMap;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;

/// What one side of a connection sent.
#[derive(Debug, Default)]
pub(crate) struct Side {
    /// DATA frames, those that only end a stream too.
    pub(crate) frames: u64,
    /// In order.
    pub(crate) messages: Vec<Vec<u8>>,
}

/// Each stream's messages are put together, and none may be compressed or cut.
pub(crate) fn side(mut bytes: &[u8]) -> Side {
    bytes = bytes.strip_prefix(PREFACE).unwrap_or(bytes);
    let mut found = Side::default();
    let mut streams: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at(9);
        let size = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (payload, behind) = rest.split_at(size);
        if head[3] == DATA {
            found.frames += 1;
            let stream = streams.entry(u32::from_be_bytes(head[5..9].try_into().unwrap())).or_default();
            stream.extend(payload);
            // a byte that says whether it is compressed, four of its size
            while let Some(head) = stream.first_chunk::<5>().copied() {
                let size = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
                if stream.len() < 5 + size {
                    break;
                }
                assert_eq!(head[0], 0, "a compressed message");
                found.messages.push(stream[5..5 + size].to_vec());
                stream.drain(..5 + size);
            }
        }
        bytes = behind;
    }
    assert!(streams.values().all(Vec::is_empty), "a cut message");
    found
}
