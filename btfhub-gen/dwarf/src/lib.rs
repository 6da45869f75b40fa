//! DWARF to BTF.
#![forbid(unsafe_code)]
