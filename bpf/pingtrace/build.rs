//! Compiles the object that the agent carries.

fn main() {
    #[cfg(feature = "agent")]
    compile::for_build_script("bpf/pingtrace/pingtrace.bpf.c");
}
