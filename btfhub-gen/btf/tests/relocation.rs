//! Relocation results against libbpf's own, for the kernels at hand: with the whole BTF, with the minimal one, and with the
//! one that bpftool makes.

mod support;

use btf::Btf;
use btf::core_relo::Target;
use btf::coverage::Coverage;
use btf::minimize::minimize;
use btf::object_file::ObjectFile;

/// libbpf gives up at some relocation of the last two, "ids" not on every kernel.
const OBJECTS: [&str; 8] = ["fields", "types", "enums", "arrays", "flavours", "tcplife", "ids", "refused"];

#[test]
fn root_results_are_libbpfs_with_the_whole_and_the_minimal_btf() {
    let Some(oracle) = support::oracle() else { return };
    let mut compared = 0;
    for path in OBJECTS.map(support::object).into_iter().chain(support::more_objects()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let data = std::fs::read(&path).unwrap();
        let object = ObjectFile::parse(name, &data).unwrap();
        for kernel in support::kernels() {
            let what = format!("{name} on {}", kernel.name);
            let types = kernel.btf();
            let btf = Btf::parse(&types).unwrap();
            let target = Target::kernel(&btf);
            let expected = support::libbpf_results(oracle, &path, &kernel.path, None);
            let results = support::our_results(&object, &target, None);
            assert_eq!(results, expected, "{what}");
            compared += results.len();

            let minimal = minimize(&target, std::slice::from_ref(&object)).unwrap();
            let file = support::scratch("minimal").join(format!("{name}.{}.btf", kernel.name));
            std::fs::write(&file, &minimal.btf).unwrap();
            let found = support::libbpf_results(oracle, &path, &file, None);
            let (found, expected) =
                (support::without_type_ids(&object, &found), support::without_type_ids(&object, &expected));
            assert_eq!(found, expected, "{what}, minimal BTF");
        }
    }
    assert!(compared > 0);
    eprintln!("{compared} results are libbpf's, on {} kernels", support::kernels().len());
}

#[test]
fn minimal_btf_is_no_larger_than_bpftools_and_gives_the_same_results() {
    if !support::has("clang") || !support::has("bpftool") {
        return support::skip("clang or bpftool is missing");
    }
    let names = &OBJECTS[..6];
    let paths: Vec<_> = names.iter().map(|name| support::object(name)).collect();
    let data: Vec<_> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let objects: Vec<ObjectFile<'_>> =
        names.iter().zip(&data).map(|(name, data)| ObjectFile::parse(name, data).unwrap()).collect();
    for kernel in support::kernels() {
        let types = kernel.btf();
        let btf = Btf::parse(&types).unwrap();
        let target = Target::kernel(&btf);
        let alone = if kernel.name == "running" { 0..names.len() } else { 0..0 };
        for some in alone.map(|one| one..one + 1).chain(std::iter::once(0..names.len())) {
            let what = format!("{:?} on {}", &OBJECTS[some.clone()], kernel.name);
            let out = support::scratch("bpftool").join(format!("{}.{}.{}", kernel.name, some.start, some.end));
            let Some(theirs) = support::bpftool_minimal(&kernel.path, &paths[some.clone()], &out) else {
                panic!("bpftool: {what}");
            };
            let ours = minimize(&target, &objects[some.clone()]).unwrap().btf;
            let stamp = Coverage::of(&objects[some.clone()]).to_string().len() + 1;
            assert!(
                ours.len() - stamp <= theirs.len(),
                "{what}: {} without the stamp, {}",
                ours.len() - stamp,
                theirs.len()
            );
            let theirs = Btf::parse(&theirs).unwrap();
            let ours = Btf::parse(&ours).unwrap();
            for object in &objects[some] {
                let results = |btf| {
                    let results = support::our_results(object, &Target::kernel(btf), None);
                    support::without_type_ids(object, &results)
                };
                assert_eq!(results(&ours), results(&btf), "{what}");
                if results(&theirs) != results(&btf) {
                    eprintln!("bpftool's differs: {what}, {}", object.name());
                }
            }
        }
    }
}

#[test]
fn root_the_kernel_accepts_minimal_btf() {
    let Some(loader) = support::loader() else { return };
    let paths = OBJECTS.map(support::object);
    let data = paths.each_ref().map(|path| std::fs::read(path).unwrap());
    let objects: Vec<_> =
        OBJECTS.iter().zip(&data).map(|(name, data)| ObjectFile::parse(name, data).unwrap()).collect();
    for kernel in support::kernels() {
        let types = kernel.btf();
        let btf = Btf::parse(&types).unwrap();
        let minimal = minimize(&Target::kernel(&btf), &objects).unwrap();
        let file = support::scratch("loaded").join(format!("{}.btf", kernel.name));
        std::fs::write(&file, &minimal.btf).unwrap();
        let output = std::process::Command::new(loader).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}\n{}", kernel.name, String::from_utf8_lossy(&output.stdout));
    }
}
