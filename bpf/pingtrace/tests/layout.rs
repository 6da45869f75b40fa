//! The structs of `pingtrace.h`, as the compiled object's BTF has them, against those of this crate.

use std::mem::{align_of, offset_of, size_of};
use std::path::Path;

use btf::layout::Layout;
use btf::object_file::ObjectFile;
use btf::{Type, layout};
use pingtrace::{Config, Event, Key, Kind, Packet, Role};

/// The object; `None` where there is no compiler.
fn object() -> Option<Vec<u8>> {
    compile::for_test(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."),
        Path::new("bpf/pingtrace/pingtrace.bpf.c"),
        &[],
    )
}

type Members = Vec<(String, usize, usize)>;

fn members(layout: &Layout) -> Members {
    let member = |field: &layout::Field| (field.name.clone(), field.offset.0 as usize / 8, field.size.0 as usize);
    layout.fields.iter().map(member).collect()
}

/// The size of a struct's member, which is only named.
fn size_in<S, M>(_: fn(&S) -> &M) -> usize {
    size_of::<M>()
}

macro_rules! members {
    ($of:ident: $($name:ident)*) => {
        vec![$((stringify!($name).to_owned(), offset_of!($of, $name), size_in(|of: &$of| &of.$name))),*]
    };
}

#[track_caller]
fn check<S>(object: &[u8], name: &str, expected: Members) {
    let object = ObjectFile::parse("pingtrace.o", object).expect("an object");
    let id = object.btf().find(name, btf::Kind::Struct).next().expect("the struct in the object's BTF");
    let layout = layout::of(object.btf(), id).expect("its layout");
    assert_eq!(members(&layout), expected);
    assert_eq!(layout.size.0 as usize, size_of::<S>());
    // a ring buffer's events are aligned to eight
    assert!(align_of::<S>() <= 8);
}

#[test]
fn the_event_has_the_same_members_in_c_and_in_rust() {
    let Some(object) = object() else { return };
    let expected = members![Event:
        kind role id sequence family protocol local_address peer_address netns ifindex device length pid tid comm drop_reason
        dropped_packet receive_cpu l_tx_devqueue l_tx_devout r_rx_devrcv r_rx_icmprcv r_tx_devout l_rx_softirq l_rx_iprcv
        l_rx_skdataready l_rx_wakeup l_rx_read dropped
        m_tx_devecho m_rx_devecho m_tx_devreply m_rx_devreply];
    check::<Event>(&object, "pingtrace_event", expected);
}

#[test]
fn the_configuration_has_the_same_members_in_c_and_in_rust() {
    let Some(object) = object() else { return };
    check::<Config>(
        &object,
        "pingtrace_config",
        members![Config:
        threshold_ns pid netns role id tcp_port udp only_probes passes unused],
    );
}

#[test]
fn a_pings_key_has_the_same_members_in_c_and_in_rust() {
    let Some(object) = object() else { return };
    check::<Key>(&object, "ping_key", members![Key: peer netns id sequence role]);
    let key = Key::local("10.0.0.1".parse().expect("an address"), 5, 0x1_0002, 0x3_0004);
    assert_eq!(key.to_bytes().len(), size_of::<Key>());
    assert_eq!((key.id, key.sequence, key.peer[10..].to_vec()), (2, 4, vec![255, 255, 10, 0, 0, 1]));
}

#[track_caller]
fn check_names(object: &[u8], name: &str, expected: &[(&str, u32)]) {
    let object = ObjectFile::parse("pingtrace.o", object).expect("an object");
    let id = object.btf().find(name, btf::Kind::Enum).next().expect("the enum in the object's BTF");
    let Ok(Type::Enum(definition)) = object.btf().ty(id) else { panic!("{name} is no enum") };
    let values: Result<Vec<_>, _> = definition.values().map(|v| v.map(|v| (v.name.to_owned(), v.value))).collect();
    let expected: Vec<_> = expected.iter().map(|&(name, value)| (name.to_owned(), i128::from(value))).collect();
    assert_eq!(values.expect("its values"), expected);
}

#[test]
fn the_enumerators_have_the_same_values_in_c_and_in_rust() {
    let Some(object) = object() else { return };
    let kinds = [
        ("PINGTRACE_ROUND_TRIP", Kind::RoundTrip as u32),
        ("PINGTRACE_ANSWERED", Kind::Answered as u32),
        ("PINGTRACE_DROPPED", Kind::Dropped as u32),
        ("PINGTRACE_PASSED", Kind::Passed as u32),
    ];
    check_names(&object, "pingtrace_kind", &kinds);
    let roles = [
        ("PINGTRACE_LOCAL", Role::Local as u32),
        ("PINGTRACE_REMOTE", Role::Remote as u32),
        ("PINGTRACE_BETWEEN", Role::Between as u32),
    ];
    check_names(&object, "pingtrace_role", &roles);
    let packets = [
        ("PINGTRACE_NONE", Packet::None as u32),
        ("PINGTRACE_REQUEST", Packet::Request as u32),
        ("PINGTRACE_REPLY", Packet::Reply as u32),
    ];
    check_names(&object, "pingtrace_packet", &packets);
}
