//! What comes to pingtrace from the network and from its object: every packet has one verdict, what is read is written again as it
//! was, and entries never become points of this host.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use pingtrace::judge::{Asker, Protocol, Verdict, request};
use pingtrace::summary::{Counters, Summary};
use pingtrace::wire::Packet;
use pingtrace::{Event, Point, Sample, Suspended, json, picture, table};

fuzz_target!(|data: &[u8]| {
    let peers: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    for peer in peers {
        for protocol in [Protocol::Icmp, Protocol::Udp, Protocol::Tcp] {
            let verdict = Asker { id: 0x0001_0001, peer, protocol }.judge(peer, data);
            let mut counters = Counters::default();
            verdict.count(&mut counters);
            let counted: u64 = counters.all().iter().map(|(_, _, number)| number).sum();
            assert_eq!(counted, u64::from(!matches!(verdict, Verdict::Reply(_))));
            let _ = request(peer, protocol, data);
        }
    }
    let mut sample = Sample::default();
    sample.set(Point::LTxUser, 1 << 40);
    sample.set(Point::LRxUser, (1 << 40) + 1000);
    if let Ok(packet) = Packet::parse(data) {
        assert_eq!(Packet::parse(&packet.write()).as_ref(), Ok(&packet), "what is read is written again");
        let strange = sample.add_entries(&packet.entries);
        assert!(strange <= packet.entries.len());
        assert_eq!(sample.total(), Some(1000), "another host does not move this host's points");
    }
    if let Ok(event) = Event::parse(data) {
        let _ = event.delays(pingtrace::UserTimes::default());
        sample.add_event(&event, Suspended(0));
        sample.add_pass(&event, Suspended(0));
    }
    let mut summary = Summary::new(0);
    summary.add(&sample);
    let _ = (json::probe(&sample, &summary), json::stat(&summary), table::line(&sample, &summary, ""));
    let _ = (picture::picture(&sample, &summary, &picture::Hosts::default()), table::summary(&summary, "fuzz"));
});
