//! Compiles the BPF object that the agent carries.

fn main() {
    #[cfg(feature = "agent")]
    compile::for_build_script("bpf/tcprt/tcprt.bpf.c");
}
