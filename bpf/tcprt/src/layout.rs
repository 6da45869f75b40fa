//! What the C header says and what is read here are the same, member by member: by the types in the compiled object.

use btf::object_file::ObjectFile;
use btf::{Kind, layout};

use crate::{Config, Event, OBJECT, config, event};

/// Name, first bit and number of bits of each member; and the bytes of the whole.
fn members(object: &[u8], name: &str) -> (Vec<(String, u32, u32)>, usize) {
    let object = ObjectFile::parse("tcprt.o", object).unwrap();
    let id = object.btf().find(name, Kind::Struct).next().expect(name);
    let found = layout::of(object.btf(), id).unwrap();
    let gaps = found.fields.iter().map(|field| &field.hole).chain([&found.padding]);
    assert!(gaps.map(|gap| gap.bytes).sum::<u32>() == 0, "{name} has holes");
    let bits = |field: &layout::Field| match field.bitfield_size {
        0 => field.size.0 * 8,
        bits => bits,
    };
    let members = found.fields.iter().map(|field| (field.name.clone(), field.offset.0, bits(field))).collect();
    (members, found.size.0 as usize)
}

#[test]
fn events_are_read_as_they_are_sent() {
    let bytes = |name: &str, at: usize, size: u32| (name.to_owned(), at as u32 * 8, size * 8);
    let bit = |name: &str, mask: u8| {
        let number = if cfg!(target_endian = "little") { mask.trailing_zeros() } else { mask.leading_zeros() };
        (name.to_owned(), event::FLAGS as u32 * 8 + number, 1)
    };
    let expected = vec![
        bytes("start_ns", event::START_NS, 8),
        bytes("total_us", event::TOTAL_US, 8),
        bytes("receive_us", event::RECEIVE_US, 8),
        bytes("service_us", event::SERVICE_US, 8),
        bytes("sent_bytes", event::SENT_BYTES, 8),
        bytes("received_bytes", event::RECEIVED_BYTES, 8),
        bytes("unacknowledged_bytes", event::UNACKNOWLEDGED_BYTES, 8),
        bytes("min_rtt_us", event::MIN_RTT_US, 4),
        bytes("retransmissions", event::RETRANSMISSIONS, 4),
        bytes("task", event::TASK, 4),
        bytes("mss", event::MSS, 4),
        bytes("local", event::LOCAL, 16),
        bytes("peer", event::PEER, 16),
        bytes("local_port", event::LOCAL_PORT, 2),
        bytes("peer_port", event::PEER_PORT, 2),
        // told by the addresses too
        bytes("family", event::PEER_PORT + 2, 2),
        bytes("kind", event::KIND, 1),
        bit("reordered", event::REORDERED),
        bit("joined", event::JOINED),
        bytes("cgroup", event::CGROUP, 8),
        bytes("netns", event::NETNS, 4),
        bytes("pid", event::PID, 4),
        bytes("comm", event::COMM, 16),
        bytes("status", event::STATUS, 2),
        bytes("protocol", event::PROTOCOL, 1),
        bytes("request_length", event::REQUEST_LENGTH, 1),
        bytes("request", event::REQUEST, 92),
    ];
    assert_eq!(members(OBJECT, "tcprt_event"), (expected, Event::SIZE));
}

#[test]
fn the_configuration_is_written_as_it_is_read() {
    let ranges = 32 * crate::RANGES as u32;
    let expected = [
        ("local_count", 0, 32),
        ("peer_count", 32, 32),
        ("local", 64, ranges),
        ("peer", 64 + ranges, ranges),
        ("cgroup", 64 + 2 * ranges, 64),
        ("pid", 128 + 2 * ranges, 32),
        ("netns", 160 + 2 * ranges, 32),
        ("mode", 192 + 2 * ranges, 32),
        ("unused", 224 + 2 * ranges, 32),
    ];
    let expected = expected.map(|(name, at, bits)| (name.to_owned(), at, bits)).to_vec();
    assert_eq!(members(OBJECT, "tcprt_config"), (expected, Config::SIZE));
    let expected = [("first", 0, 16), ("last", 16, 16)].map(|(name, at, bits)| (name.to_owned(), at, bits)).to_vec();
    assert_eq!(members(OBJECT, "tcprt_ports"), (expected, 4));
}

#[test]
fn every_program_looks_at_payload_or_does_not() {
    let object = ObjectFile::parse("tcprt.o", OBJECT).unwrap();
    let functions = object.functions().iter().filter(|function| object.is_entry(function));
    let mut found: Vec<_> = functions.map(|function| function.name.as_str()).collect();
    let mut known = [config::WITHOUT_PAYLOAD, config::WITH_PAYLOAD].concat();
    found.sort_unstable();
    known.sort_unstable();
    assert_eq!(found, known);
}
