//! Sockets that std does not have: raw ones for ICMP, and datagrams with the address of this host that they were sent to. Unsafe code
//! is here, in no other file of the agent.

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `ICMP_FILTER` (linux/icmp.h) and `ICMP6_FILTER` (netinet/icmp6.h): a bit for each type that is not wanted.
const ICMP_FILTER: i32 = 1;
const ICMP6_FILTER: i32 = 1;

/// Bytes that are asked to be kept for a process that is not scheduled.
const RECEIVE_BUFFER: i32 = 1 << 20;

/// A datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Where its data begins, behind the IP header of raw IPv4 sockets.
    pub(crate) begin: usize,
    /// Where it ends.
    pub(crate) end: usize,
    /// Who sent it.
    pub(crate) from: SocketAddr,
    /// The address of this host that it was sent to, and the device by which it came.
    pub(crate) to: Option<(IpAddr, u32)>,
}

/// A socket for datagrams. It does not block.
#[derive(Debug)]
pub(crate) struct Datagrams {
    fd: OwnedFd,
    is_raw_v4: bool,
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn set<T>(fd: &OwnedFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    let size = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value is there for the call, and the size is its own.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), size) })?;
    Ok(())
}

fn open(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor is new, and nobody else's.
    unsafe {
        let fd = check(libc::socket(family, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

impl Datagrams {
    /// A raw socket for ICMP or ICMPv6, which gets packets of one type only.
    pub(crate) fn icmp(is_v4: bool, wanted: u8) -> io::Result<Datagrams> {
        let fd = if is_v4 {
            let fd = open(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP)?;
            set(&fd, libc::SOL_RAW, ICMP_FILTER, &!(1_u32 << (wanted & 31)))?;
            set(&fd, libc::IPPROTO_IP, libc::IP_PKTINFO, &1_i32)?;
            fd
        } else {
            let fd = open(libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6)?;
            let mut filter = [u32::MAX; 8];
            filter[usize::from(wanted >> 5)] &= !(1 << (wanted & 31));
            set(&fd, libc::IPPROTO_ICMPV6, ICMP6_FILTER, &filter)?;
            set(&fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &1_i32)?;
            fd
        };
        // what is more than the host allows is cut to that
        set(&fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &RECEIVE_BUFFER)?;
        Ok(Datagrams { fd, is_raw_v4: is_v4 })
    }

    /// A UDP socket, bound to a port of all addresses; 0: the kernel chooses one.
    pub(crate) fn udp(is_v4: bool, port: u16) -> io::Result<Datagrams> {
        let (family, any) = if is_v4 {
            (libc::AF_INET, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        } else {
            (libc::AF_INET6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
        };
        let fd = open(family, libc::SOCK_DGRAM, libc::IPPROTO_UDP)?;
        if is_v4 {
            set(&fd, libc::IPPROTO_IP, libc::IP_PKTINFO, &1_i32)?;
        } else {
            set(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &1_i32)?;
            set(&fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &1_i32)?;
        }
        set(&fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &RECEIVE_BUFFER)?;
        let (address, size) = to_raw(any);
        // SAFETY: the address is there for the call, and large enough for its size.
        check(unsafe { libc::bind(fd.as_raw_fd(), std::ptr::from_ref(&address).cast(), size) })?;
        Ok(Datagrams { fd, is_raw_v4: false })
    }

    /// The next datagram, or none where there is none yet. What does not fit is cut off.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        let mut control = [MaybeUninit::<u64>::uninit(); 16];
        // SAFETY: zero is a value of these structs; all pointers are to what lives until the call is over, with its sizes.
        let (length, from, header) = unsafe {
            let mut from: libc::sockaddr_storage = zeroed();
            let mut data = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            let mut header: libc::msghdr = zeroed();
            header.msg_name = (&raw mut from).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut data;
            header.msg_iovlen = 1;
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = size_of_val(&control) as _;
            let length = libc::recvmsg(self.fd.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT);
            (length, from, header)
        };
        if length < 0 {
            let error = io::Error::last_os_error();
            // what an earlier datagram met with (ICMP errors) is no error of the next one
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => Ok(None),
                _ => Err(error),
            };
        }
        let end = length as usize;
        let Some(from) = from_raw(&from) else { return Ok(None) };
        let to = destination(&header);
        let header_length = buffer.first().map_or(0, |first| usize::from(first & 15) * 4);
        let begin = if self.is_raw_v4 { header_length.min(end) } else { 0 };
        Ok(Some(Received { begin, end, from, to }))
    }

    /// Sends a datagram, from an address of this host if one is given.
    pub(crate) fn send(&self, bytes: &[u8], to: SocketAddr, from: Option<IpAddr>) -> io::Result<()> {
        let (mut address, size) = to_raw(to);
        let mut control = [0_u64; 16];
        // SAFETY: zero is a value of these structs; all pointers are to what lives until the call is over, with its sizes; the
        // kernel reads the data and does not write it. CMSG_DATA has room for what is written there.
        let sent = unsafe {
            let mut data = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            let mut header: libc::msghdr = zeroed();
            header.msg_name = (&raw mut address).cast();
            header.msg_namelen = size;
            header.msg_iov = &raw mut data;
            header.msg_iovlen = 1;
            if let Some(from) = from {
                header.msg_control = control.as_mut_ptr().cast();
                header.msg_controllen = size_of_val(&control) as _;
                let message = &mut *libc::CMSG_FIRSTHDR(&raw const header);
                match from {
                    IpAddr::V4(from) => {
                        let mut info: libc::in_pktinfo = zeroed();
                        info.ipi_spec_dst.s_addr = u32::from_ne_bytes(from.octets());
                        put_control(&mut header, message, (libc::IPPROTO_IP, libc::IP_PKTINFO), info);
                    }
                    IpAddr::V6(from) => {
                        let mut info: libc::in6_pktinfo = zeroed();
                        info.ipi6_addr.s6_addr = from.octets();
                        put_control(&mut header, message, (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO), info);
                    }
                }
            }
            libc::sendmsg(self.fd.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Writes one control message, the first.
///
/// # Safety
/// `message` is the first of `header`, which has room for it.
unsafe fn put_control<T>(header: &mut libc::msghdr, message: &mut libc::cmsghdr, kind: (i32, i32), value: T) {
    (message.cmsg_level, message.cmsg_type) = kind;
    // SAFETY: as said above.
    unsafe {
        message.cmsg_len = libc::CMSG_LEN(size_of::<T>() as u32) as _;
        std::ptr::write_unaligned(libc::CMSG_DATA(message).cast(), value);
        header.msg_controllen = libc::CMSG_SPACE(size_of::<T>() as u32) as _;
    }
}

/// The address of this host that a datagram was sent to.
fn destination(header: &libc::msghdr) -> Option<(IpAddr, u32)> {
    // SAFETY: the header is as the kernel has left it, and its control messages still lie where it says.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(this) = message.as_ref() {
            let data = libc::CMSG_DATA(message);
            match (this.cmsg_level, this.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = std::ptr::read_unaligned(data.cast());
                    let address = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
                    return Some((address.into(), info.ipi_ifindex as u32));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = std::ptr::read_unaligned(data.cast());
                    return Some((Ipv6Addr::from(info.ipi6_addr.s6_addr).into(), info.ipi6_ifindex));
                }
                _ => message = libc::CMSG_NXTHDR(header, message),
            }
        }
    }
    None
}

fn to_raw(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: zero is a value of the struct, which is larger than and aligned as each address that is written into it.
    unsafe {
        let mut storage: libc::sockaddr_storage = zeroed();
        let size = match address {
            SocketAddr::V4(address) => {
                let raw = &mut *(&raw mut storage).cast::<libc::sockaddr_in>();
                raw.sin_family = libc::AF_INET as libc::sa_family_t;
                raw.sin_port = address.port().to_be();
                raw.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(address) => {
                let raw = &mut *(&raw mut storage).cast::<libc::sockaddr_in6>();
                raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                raw.sin6_port = address.port().to_be();
                raw.sin6_addr.s6_addr = address.ip().octets();
                raw.sin6_scope_id = address.scope_id();
                size_of::<libc::sockaddr_in6>()
            }
        };
        (storage, size as libc::socklen_t)
    }
}

fn from_raw(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    // SAFETY: the family says which address it is.
    unsafe {
        match i32::from(storage.ss_family) {
            libc::AF_INET => {
                let raw = &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in>();
                let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(ip, u16::from_be(raw.sin_port)).into())
            }
            libc::AF_INET6 => {
                let raw = &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in6>();
                let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
                Some(SocketAddrV6::new(ip, u16::from_be(raw.sin6_port), 0, raw.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

impl AsFd for Datagrams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(is_v4: bool, here: &str, from: &str) {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let server = Datagrams::udp(is_v4, 0).expect("a socket");
        let client = Datagrams::udp(is_v4, 0).expect("a socket");
        // SAFETY: the address is as large as its size says.
        let port = unsafe {
            let mut storage: libc::sockaddr_storage = zeroed();
            let mut size = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            check_ok(libc::getsockname(server.fd.as_raw_fd(), (&raw mut storage).cast(), &raw mut size));
            from_raw(&storage).expect("an address").port()
        };
        let mut buffer = [0; 16];
        assert_eq!(server.receive(&mut buffer).expect("no error"), None);
        client.send(b"probe", SocketAddr::new(address(here), port), Some(address(from))).expect("sent");
        let got = server.receive(&mut buffer).expect("no error").expect("a datagram");
        assert_eq!((&buffer[got.begin..got.end], got.from.ip()), (&b"probe"[..], address(from)));
        assert_eq!(got.to.map(|(to, _)| to), Some(address(here)));
    }

    #[track_caller]
    fn check_ok(result: i32) {
        assert_eq!(result, 0);
    }

    #[test]
    fn a_datagram_has_its_source_and_its_destination() {
        check(true, "127.0.0.3", "127.0.0.2");
        if std::path::Path::new("/proc/net/if_inet6").exists() {
            check(false, "::1", "::1");
        }
    }
}
