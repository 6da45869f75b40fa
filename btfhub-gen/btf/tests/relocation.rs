//! Relocation results against libbpf's own, for the kernels at hand.

mod support;

use btf::Btf;
use btf::core_relo::Target;
use btf::object_file::ObjectFile;

const OBJECTS: [&str; 1] = ["fields"];

#[test]
fn root_results_are_libbpfs_for_every_kernel() {
    let Some(oracle) = support::oracle() else { return };
    let mut compared = 0;
    for name in OBJECTS {
        let path = support::object(name);
        let data = std::fs::read(&path).unwrap();
        let object = ObjectFile::parse(name, &data).unwrap();
        for kernel in support::kernels() {
            let types = kernel.btf();
            let btf = Btf::parse(&types).unwrap();
            let expected = support::libbpf_results(oracle, &path, &kernel.path);
            let results = support::our_results(&object, &Target::kernel(&btf));
            assert_eq!(results, expected, "{name} on {}", kernel.name);
            compared += results.len();
        }
    }
    assert!(compared > 0);
    eprintln!("{compared} results are libbpf's, on {} kernels", support::kernels().len());
}
