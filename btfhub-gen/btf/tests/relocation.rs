//! Relocation results against libbpf's own, for the kernels at hand: with the whole BTF, with the minimal one, and with the
//! one that bpftool makes.

mod support;

use btf::Btf;
use btf::core_relo::Target;
use btf::minimize::minimize;
use btf::object_file::ObjectFile;

const OBJECTS: [&str; 6] = ["fields", "types", "enums", "arrays", "flavours", "tcplife"];

#[test]
fn root_results_are_libbpfs_with_the_whole_and_the_minimal_btf() {
    let Some(oracle) = support::oracle() else { return };
    let mut compared = 0;
    for name in OBJECTS {
        let path = support::object(name);
        let data = std::fs::read(&path).unwrap();
        let object = ObjectFile::parse(name, &data).unwrap();
        for kernel in support::kernels() {
            let what = format!("{name} on {}", kernel.name);
            let types = kernel.btf();
            let btf = Btf::parse(&types).unwrap();
            let target = Target::kernel(&btf);
            let expected = support::libbpf_results(oracle, &path, &kernel.path);
            let results = support::our_results(&object, &target);
            assert_eq!(results, expected, "{what}");
            compared += results.len();

            let minimal = minimize(&target, std::slice::from_ref(&object)).unwrap();
            let file = support::scratch("minimal").join(format!("{name}.{}.btf", kernel.name));
            std::fs::write(&file, &minimal.btf).unwrap();
            let found = support::libbpf_results(oracle, &path, &file);
            let (found, expected) =
                (support::without_type_ids(&object, &found), support::without_type_ids(&object, &expected));
            assert_eq!(found, expected, "{what}, minimal BTF");
        }
    }
    assert!(compared > 0);
    eprintln!("{compared} results are libbpf's, on {} kernels", support::kernels().len());
}
