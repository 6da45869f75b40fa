//! Tests on the BTF of real kernels: the running one, and the BTFHub archive of old ones beside the checkout.

mod against_bpftool;
mod against_btf_rs;
mod against_pahole;
mod c_header;
mod corpus;
mod damage;
mod differences;
