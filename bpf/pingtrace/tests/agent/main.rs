//! The agent as it is run: between two network namespaces, which are two hosts of one kernel, with a network between them that the
//! test decides on. As root; needs /dev/net/tun, ip and tc.

mod blame;
mod delivery;
mod hosts;
mod load;
mod namespaces;
mod stages;
mod strangers;
mod told;
