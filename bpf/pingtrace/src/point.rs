//! The points of a probe's way, and the delays between them, by the names that pingtrace's users know.

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident = $number:literal $name:literal,)*) => {
        /// A point of the way. Its number is an entry's `function_id` on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Point {
            $($(#[$doc])* $variant = $number,)*
        }

        impl Point {
            /// All, by number.
            pub const ALL: [Point; 17] = [$(Point::$variant),*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Point::$variant => $name,)* }
            }
        }
    };
}

points! {
    /// The program is about to send the request.
    LTxUser = 0 "l_tx_user",
    /// The request is queued for its device.
    LTxDevqueue = 1 "l_tx_devqueue",
    /// The driver is given the request.
    LTxDevout = 2 "l_tx_devout",
    /// ICMP has the request; of UDP and TCP, the socket.
    RRxIcmprcv = 3 "r_rx_icmprcv",
    /// The driver is given the reply.
    RTxDevout = 4 "r_tx_devout",
    /// The reply is taken from its device.
    LRxIprcv = 5 "l_rx_iprcv",
    /// The socket has the reply.
    LRxSkdataready = 6 "l_rx_skdataready",
    /// The program is put on a run queue.
    LRxWakeup = 7 "l_rx_wakeup",
    /// The program has the reply.
    LRxUser = 8 "l_rx_user",
    /// The request is taken from its device.
    RRxDevrcv = 9 "r_rx_devrcv",
    /// The softirq is raised that receives the reply.
    LRxSoftirq = 10 "l_rx_softirq",
    /// A host between: the request is given to a driver.
    MTxDevecho = 11 "m_tx_devecho",
    /// A host between: the request is taken from a device.
    MRxDevecho = 12 "m_rx_devecho",
    /// A host between: the reply is given to a driver.
    MTxDevreply = 13 "m_tx_devreply",
    /// A host between: the reply is taken from a device.
    MRxDevreply = 14 "m_rx_devreply",
    /// UDP and TCP: the server has the request. ICMP is answered by the kernel.
    RRxUser = 15 "r_rx_user",
    /// UDP and TCP: the server is about to send the reply.
    RTxUser = 16 "r_tx_user",
}

impl Point {
    /// How many there are.
    pub const COUNT: usize = Point::ALL.len();

    /// By its number.
    pub fn from_number(number: u16) -> Option<Point> {
        Point::ALL.get(usize::from(number)).copied()
    }

    /// Of the host that answers, whose clock may be another.
    pub fn is_remote(self) -> bool {
        matches!(self, Point::RRxIcmprcv | Point::RTxDevout | Point::RRxDevrcv | Point::RRxUser | Point::RTxUser)
    }

    /// Of a host between; there may be several.
    pub fn is_between(self) -> bool {
        matches!(self, Point::MTxDevecho | Point::MRxDevecho | Point::MTxDevreply | Point::MRxDevreply)
    }
}

/// A delay: the time between two points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// Its name.
    pub name: &'static str,
    /// What it is, in few words.
    pub what: &'static str,
    /// Where it begins, and where it ends.
    pub between: (Point, Point),
}

impl Delay {
    /// It begins and ends on different hosts: only its jitter means anything, unless they have one clock.
    pub fn is_between_hosts(&self) -> bool {
        self.between.0.is_remote() != self.between.1.is_remote()
    }

    /// By its name.
    pub fn by_name(name: &str) -> Option<usize> {
        DELAYS.iter().position(|delay| delay.name == name)
    }

    /// By its points.
    pub fn by_points(from: Point, to: Point) -> Option<usize> {
        DELAYS.iter().position(|delay| delay.between == (from, to))
    }
}

const fn delay(name: &'static str, from: Point, to: Point, what: &'static str) -> Delay {
    Delay { name, what, between: (from, to) }
}

/// All delays. The first is the whole. What is merged serves where a point within is not seen.
pub const DELAYS: [Delay; 23] = [
    delay("total", Point::LTxUser, Point::LRxUser, "from sending to having the reply"),
    delay("l_tx_kern", Point::LTxUser, Point::LTxDevqueue, "sending stack"),
    delay("l_tx_qdisc", Point::LTxDevqueue, Point::LTxDevout, "qdisc"),
    delay("l_tx_outlink", Point::LTxDevout, Point::RRxDevrcv, "link, to the other host"),
    delay("r_rx_kern", Point::RRxDevrcv, Point::RRxIcmprcv, "the other host's receiving stack"),
    delay("r_task", Point::RRxIcmprcv, Point::RRxUser, "the server: waking and run queue"),
    delay("r_user", Point::RRxUser, Point::RTxUser, "the server's own time"),
    delay("r_tx_user_kern", Point::RTxUser, Point::RTxDevout, "the other host's sending stack and qdisc"),
    delay("r_tx_kern", Point::RRxIcmprcv, Point::RTxDevout, "the other host's answer: stack and qdisc"),
    delay("l_rx_inlink", Point::RTxDevout, Point::LRxIprcv, "link, back, with the softirq"),
    delay("l_rx_wire", Point::RTxDevout, Point::LRxSoftirq, "link, back, without the softirq"),
    delay("l_rx_softirq", Point::LRxSoftirq, Point::LRxIprcv, "softirq"),
    delay("l_rx_kern", Point::LRxIprcv, Point::LRxSkdataready, "receiving stack"),
    delay("l_rx_task_waking", Point::LRxSkdataready, Point::LRxWakeup, "waking of the program"),
    delay("l_rx_task_queue", Point::LRxWakeup, Point::LRxUser, "run queue"),
    delay("l_tx_merged_kern", Point::LTxUser, Point::LTxDevout, "sending stack and qdisc"),
    delay("r_merged_kern", Point::RRxDevrcv, Point::RTxDevout, "the other host, whole"),
    delay("l_rx_task", Point::LRxSkdataready, Point::LRxUser, "the program: waking and run queue"),
    delay("l_rx_merged_kern", Point::LRxIprcv, Point::LRxUser, "from the device to the program"),
    delay("outside", Point::LTxDevout, Point::LRxIprcv, "links and the other host, with the softirq"),
    delay("outside_wire", Point::LTxDevout, Point::LRxSoftirq, "links and the other host"),
    delay("beyond", Point::LTxDevout, Point::LRxUser, "all behind the device"),
    delay("unseen", Point::LTxUser, Point::LRxIprcv, "from sending to the device, back"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_those_of_the_facts() {
        for (number, point) in Point::ALL.into_iter().enumerate() {
            assert_eq!((point as usize, Point::from_number(number as u16)), (number, Some(point)));
        }
        assert_eq!(Point::from_number(17), None);
        assert_eq!((Point::RRxIcmprcv as u16, Point::RRxDevrcv.name()), (3, "r_rx_devrcv"));
    }

    #[test]
    fn delays_have_one_name_and_one_pair_each() {
        for (at, delay) in DELAYS.iter().enumerate() {
            assert_eq!(Delay::by_name(delay.name), Some(at));
            assert_eq!(Delay::by_points(delay.between.0, delay.between.1), Some(at));
        }
        let between: Vec<&str> =
            DELAYS.iter().filter(|delay| delay.is_between_hosts()).map(|delay| delay.name).collect();
        assert_eq!(between, ["l_tx_outlink", "l_rx_inlink", "l_rx_wire"]);
    }
}
