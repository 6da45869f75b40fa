//! Compiles the object that the agent carries.

fn main() {
    compile::for_build_script("bpf/pingtrace/pingtrace.bpf.c");
}
