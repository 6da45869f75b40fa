//! Real kernels, where `cargo xtask kernels` has fetched them: the result beside the kernel's own BTF and pahole's, every
//! difference with a reason that is read off the file by other means than the encoder's, and counted as
//! `docs/btf-differences.md` says.
//!
//! A minute for each kernel: `cargo xtask test --kernels`. `LCC_KERNELS="6.1-amd64 6.12-amd64"` restricts it to these.

#[path = "../encode/describe.rs"]
#[expect(dead_code, reason = "goldens and tags are the other tests' matter")]
mod describe;
mod document;
mod evidence;
mod functions;
mod kernel;
mod older;
mod prototypes;
mod reasons;
mod records;
mod types;

use kernel::{each_kernel, encode};

#[test]
#[ignore = "reads gigabytes"]
fn the_result_does_not_depend_on_the_number_of_threads() {
    each_kernel(|kernel, elf| {
        let two = kernel.ours(elf);
        for jobs in [1, 7] {
            let other = encode(elf, jobs);
            assert!(two.btf == other.btf && two.surface == other.surface, "{}: {jobs} threads", kernel.release);
            assert_eq!(two.dropped, other.dropped, "{}: {jobs} threads", kernel.release);
            assert_eq!(two.diagnostics, other.diagnostics, "{}: {jobs} threads", kernel.release);
        }
    });
}
