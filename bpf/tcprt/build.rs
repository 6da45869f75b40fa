//! Compiles the BPF object that the agent carries.

fn main() {
    compile::for_build_script("bpf/tcprt/tcprt.bpf.c");
}
