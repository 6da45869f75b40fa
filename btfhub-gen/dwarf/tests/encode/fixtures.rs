//! The table of fixtures: one line is one file, one golden and one test.

use crate::fixture::{Fixture, check};
use crate::pahole::Right;

/// For the running kernel's machine; every pahole gets it right.
const BOTH: Fixture = Fixture { name: "", golden: "", steps: &[], pahole: Right::Both, kernel: true };
/// pahole 1.24 fails or is wrong.
const NEWEST: Fixture = Fixture { pahole: Right::Newest, ..BOTH };
/// Every pahole fails or is wrong.
const OURS: Fixture = Fixture { pahole: Right::Neither, ..BOTH };
/// For a machine that differs from the running kernel's in word size or byte order.
const FOREIGN: Fixture = Fixture { kernel: false, ..BOTH };

macro_rules! fixtures {
    ($($name:ident: $like:ident, $golden:literal, [$($step:literal),+ $(,)?];)*) => {
        /// All of them.
        pub(crate) const FIXTURES: &[Fixture] = &[
            $(Fixture { name: stringify!($name), golden: $golden, steps: &[$($step),+], ..$like }),*
        ];

        mod each {
            $(#[test]
            fn $name() {
                super::check(super::by_name(stringify!($name)));
            })*
        }
    };
}

/// The fixture of this name.
pub(crate) fn by_name(name: &str) -> &'static Fixture {
    FIXTURES.iter().find(|fixture| fixture.name == name).unwrap()
}

fixtures! {
    // every version of DWARF, by both compilers; DWARF 2 has no restrict
    types_gcc_dwarf2: BOTH, "types-gcc-dwarf2", ["gcc -gdwarf-2 -c {src}/types.c -o out"];
    types_gcc_dwarf2_strict: BOTH, "types-gcc-dwarf2", ["gcc -gdwarf-2 -gstrict-dwarf -c {src}/types.c -o out"];
    types_gcc_dwarf3: BOTH, "types-gcc", ["gcc -gdwarf-3 -c {src}/types.c -o out"];
    types_gcc_dwarf4: BOTH, "types-gcc", ["gcc -gdwarf-4 -c {src}/types.c -o out"];
    types_gcc_dwarf5: BOTH, "types-gcc", ["gcc -gdwarf-5 -c {src}/types.c -o out"];
    types_gcc_optimized: BOTH, "types-gcc", ["gcc -g -O2 -c {src}/types.c -o out"];
    types_clang_dwarf2: BOTH, "types-clang-dwarf2", ["clang -gdwarf-2 -fstandalone-debug -c {src}/types.c -o out"];
    types_clang_dwarf3: BOTH, "types-clang", ["clang -gdwarf-3 -fstandalone-debug -c {src}/types.c -o out"];
    types_clang_dwarf4: BOTH, "types-clang", ["clang -gdwarf-4 -fstandalone-debug -c {src}/types.c -o out"];
    types_clang_dwarf5: BOTH, "types-clang", ["clang -gdwarf-5 -fstandalone-debug -c {src}/types.c -o out"];

    // other machines
    types_gcc_32_bit: FOREIGN, "types-gcc-32-bit", ["gcc -m32 -g -c {src}/types.c -o out"];
    types_clang_32_bit: FOREIGN, "types-clang-32-bit", ["clang --target=i686-linux-gnu -g -c {src}/types.c -o out"];
    types_clang_arm: FOREIGN, "types-clang-arm", ["clang --target=arm-linux-gnueabi -g -c {src}/types.c -o out"];
    types_clang_big_endian: FOREIGN, "types-clang-big-endian",
        ["clang --target=s390x-linux-gnu -g -c {src}/types.c -o out"];
    types_clang_big_endian_32_bit: FOREIGN, "types-clang-big-endian-32-bit",
        ["clang --target=powerpc-linux-gnu -g -DNO_LONG_DOUBLE -c {src}/types.c -o out"];

    // containers of debug information
    types_dwarf64_version3: NEWEST, "types-gcc", ["gcc -gdwarf64 -gdwarf-3 -c {src}/types.c -o out"];
    types_dwarf64_version4: NEWEST, "types-gcc", ["gcc -gdwarf64 -gdwarf-4 -c {src}/types.c -o out"];
    types_dwarf64_version5: NEWEST, "types-gcc", ["gcc -gdwarf64 -gdwarf-5 -c {src}/types.c -o out"];
    types_clang_dwarf64: NEWEST, "types-clang", ["clang -gdwarf64 -gdwarf-5 -fstandalone-debug -c {src}/types.c -o out"];
    types_zlib: BOTH, "types-gcc", ["gcc -g -gz=zlib -c {src}/types.c -o out"];
    types_zlib_gnu: NEWEST, "types-gcc", ["gcc -g -gz=zlib-gnu -c {src}/types.c -o out"];
    types_zstd: NEWEST, "types-gcc", [
        "gcc -g -c {src}/types.c -o plain",
        "objcopy --compress-debug-sections=zstd plain out",
    ];
    types_zlib_linked: BOTH, "types-gcc", ["gcc -g -gz=zlib -nostdlib -static -Wl,-e,start {src}/types.c -o out"];
    types_zlib_gnu_linked: NEWEST, "types-gcc",
        ["gcc -g -gz=zlib-gnu -nostdlib -static -Wl,-e,start {src}/types.c -o out"];
    types_linked: BOTH, "types-gcc", ["gcc -g -nostdlib -static -Wl,-e,start {src}/types.c -o out"];
    types_linked_relocations_kept: BOTH, "types-gcc",
        ["gcc -g -nostdlib -static -Wl,-e,start,--emit-relocs {src}/types.c -o out"];
    types_type_units_clang: NEWEST, "types-clang",
        ["clang -gdwarf-5 -fstandalone-debug -fdebug-types-section -c {src}/types.c -o out"];
    types_two_equal_units: BOTH, "types-gcc", [
        "gcc -g -fcommon -c {src}/types.c -o a.o",
        "gcc -g -fcommon -O1 -Dstart=other -c {src}/types.c -o b.o",
        "objcopy --strip-symbol=other b.o b2.o",
        "ld -r a.o b2.o -o out",
    ];

    arrays_gcc: NEWEST, "arrays", ["gcc -g -c {src}/arrays.c -o out"];
    arrays_clang: NEWEST, "arrays-clang", ["clang -g -c {src}/arrays.c -o out"];
    atomic_gcc: OURS, "atomic-gcc", ["gcc -g -c {src}/atomic.c -o out"];
    atomic_clang: OURS, "atomic-clang", ["clang -g -c {src}/atomic.c -o out"];
    enums_gcc_dwarf5: BOTH, "enums-gcc", ["gcc -g -c {src}/enums.c -o out"];
    // without a type beneath the enum, pahole takes its values for unsigned
    enums_gcc_dwarf2: OURS, "enums-gcc-dwarf2", ["gcc -gdwarf-2 -gstrict-dwarf -c {src}/enums.c -o out"];
    enums_clang: BOTH, "enums-clang", ["clang -g -c {src}/enums.c -o out"];
    enums_clang_big_endian: FOREIGN, "enums-clang",
        ["clang --target=s390x-linux-gnu -g -c {src}/enums.c -o out"];

    bitfields_gcc_dwarf2: BOTH, "bitfields-gcc", ["gcc -gdwarf-2 -c {src}/bitfields.c -o out"];
    bitfields_gcc_dwarf3: BOTH, "bitfields-gcc", ["gcc -gdwarf-3 -gstrict-dwarf -c {src}/bitfields.c -o out"];
    bitfields_gcc_dwarf4: BOTH, "bitfields-gcc", ["gcc -gdwarf-4 -c {src}/bitfields.c -o out"];
    bitfields_gcc_dwarf5: BOTH, "bitfields-gcc", ["gcc -gdwarf-5 -c {src}/bitfields.c -o out"];
    bitfields_clang_dwarf2: BOTH, "bitfields-clang", ["clang -gdwarf-2 -c {src}/bitfields.c -o out"];
    bitfields_clang_dwarf4: BOTH, "bitfields-clang", ["clang -gdwarf-4 -c {src}/bitfields.c -o out"];
    bitfields_clang_dwarf5: BOTH, "bitfields-clang", ["clang -gdwarf-5 -c {src}/bitfields.c -o out"];
    bitfields_clang_dwarf5_lldb: BOTH, "bitfields-clang", ["clang -gdwarf-5 -glldb -c {src}/bitfields.c -o out"];
    bitfields_big_endian_dwarf2: FOREIGN, "bitfields-big-endian",
        ["clang --target=s390x-linux-gnu -gdwarf-2 -c {src}/bitfields.c -o out"];
    bitfields_big_endian_dwarf5: FOREIGN, "bitfields-big-endian",
        ["clang --target=s390x-linux-gnu -gdwarf-5 -glldb -c {src}/bitfields.c -o out"];

    functions_gcc: BOTH, "functions-gcc", ["gcc -g -O2 -c {src}/functions.c -o out"];
    functions_gcc_linked: BOTH, "functions-gcc",
        ["gcc -g -O2 -nostdlib -static -Wl,-e,plain,--unresolved-symbols=ignore-all {src}/functions.c -o out"];
    functions_gcc_dwarf4: BOTH, "functions-gcc", ["gcc -gdwarf-4 -O2 -c {src}/functions.c -o out"];
    functions_gcc_sections: BOTH, "functions-gcc", ["gcc -g -O2 -ffunction-sections -c {src}/functions.c -o out"];
    functions_clang: BOTH, "functions-clang", ["clang -g -O2 -c {src}/functions.c -o out"];
    functions_clang_dwarf4: BOTH, "functions-clang", ["clang -gdwarf-4 -O2 -c {src}/functions.c -o out"];
    functions_unoptimized: BOTH, "functions-unoptimized", ["gcc -g -O0 -c {src}/functions.c -o out"];
    // in a relocatable file pahole keeps .constprop functions
    transformed_gcc: OURS, "transformed-gcc", ["gcc -g -O2 -c {src}/transformed.c -o out"];
    transformed_gcc_linked: BOTH, "transformed-gcc",
        ["gcc -g -O2 -nostdlib -static -Wl,-e,one,--unresolved-symbols=ignore-all {src}/transformed.c -o out"];
    assembly: BOTH, "assembly", [
        "gcc -g -c {src}/assembly.S -o a.o",
        "gcc -g -O1 -c {src}/calls_assembly.c -o b.o",
        "ld -r a.o b.o -o out",
    ];

    // pahole 1.24 goes by symbols, later ones by top-level entries
    percpu_at_zero: NEWEST, "percpu", [
        "gcc -g -O1 -fno-pie -c {src}/percpu.c -o a.o",
        "ld -T {src}/vmlinux.lds --defsym=PERCPU=0 --defsym=only_declared=0 -e start a.o -o out",
    ];
    percpu_behind_the_rest: NEWEST, "percpu", [
        "gcc -g -O1 -fno-pie -c {src}/percpu.c -o a.o",
        "ld -T {src}/vmlinux.lds --defsym=PERCPU=0x2000000 --defsym=only_declared=0 -e start a.o -o out",
    ];
    percpu_clang: NEWEST, "percpu-clang", [
        "clang -g -O1 -fno-pie -c {src}/percpu.c -o a.o",
        "ld -T {src}/vmlinux.lds --defsym=PERCPU=0x2000000 --defsym=only_declared=0 -e start a.o -o out",
    ];

    units: NEWEST, "units", [
        "gcc -g -O2 -c {src}/unit_a.c -o a.o",
        "gcc -g -O2 -c {src}/unit_b.c -o b.o",
        "gcc -nostdlib -static -Wl,-e,only_a a.o b.o -o out",
    ];
    // in a relocatable file pahole does not notice that one name has several addresses
    units_relocatable: OURS, "units", [
        "gcc -g -O2 -c {src}/unit_a.c -o a.o",
        "gcc -g -O2 -c {src}/unit_b.c -o b.o",
        "ld -r a.o b.o -o out",
    ];
    units_with_types: NEWEST, "units-with-types", [
        "gcc -g -O2 -fcommon -Dstart=start_a -include {src}/types.c -c {src}/unit_a.c -o a.o",
        "gcc -g -O2 -fcommon -Dstart=start_b -include {src}/types.c -c {src}/unit_b.c -o b.o",
        "gcc -nostdlib -static -Wl,-e,only_a a.o b.o -o out",
    ];
    lto_gcc: NEWEST, "lto-gcc", [
        "gcc -g -O2 -flto -nostdlib -static -Wl,-e,start_here {src}/inlined_across.c {src}/unit_across.c -o out",
    ];
    lto_gcc_off: BOTH, "lto-off", [
        "gcc -g -O2 -nostdlib -static -Wl,-e,start_here {src}/inlined_across.c {src}/unit_across.c -o out",
    ];
    lto_clang: NEWEST, "lto-clang", [
        "clang -g -O2 -flto=full -c {src}/inlined_across.c -o a.bc",
        "clang -g -O2 -flto=full -c {src}/unit_across.c -o b.bc",
        "llvm-link a.bc b.bc -o both.bc",
        "clang -g -O2 -c both.bc -o out",
    ];

    kabi: OURS, "kabi", [
        "gcc -g -c {src}/kabi.c -o a.o",
        "gcc -g -DFIRST=20 -DOTHER -c {src}/kabi.c -o b.o",
        "ld -r a.o b.o -o out",
    ];
    names: OURS, "names", ["gcc -g -O1 -c {src}/names.c -o out"];
    strings: BOTH, "strings", ["gcc -c {src}/strings.s -o out"];
    anonymous_declarations: OURS, "anonymous-declarations", ["gcc -c {src}/anonymous_declaration.s -o out"];
    rust_left_out: NEWEST, "rust-left-out", [
        "rustc --edition 2024 -g --crate-type lib --emit obj -C panic=abort {src}/rust.rs -o a.o",
        "gcc -g -O1 -c {src}/beside_rust.c -o b.o",
        "ld -r a.o b.o -o out",
    ];
    types_type_units_version4: OURS, "types-gcc-type-units",
        ["gcc -gdwarf-4 -fdebug-types-section -c {src}/types.c -o out"];
    types_type_units_version5: OURS, "types-gcc-type-units",
        ["gcc -gdwarf-5 -fdebug-types-section -c {src}/types.c -o out"];
    // who declares `struct target` and who defines which; pahole picks one for those who only declare it
    declarations: OURS, "declarations", [
        "gcc -g -DUNIT=1 -c {src}/declarations.c -o 1.o",
        "gcc -g -DUNIT=2 -DTARGET=1 -c {src}/declarations.c -o 2.o",
        "gcc -g -DUNIT=3 -DTARGET=2 -c {src}/declarations.c -o 3.o",
        "gcc -g -DUNIT=4 -c {src}/declarations.c -o 4.o",
        "gcc -g -DUNIT=5 -DTARGET=2 -c {src}/declarations.c -o 5.o",
        "gcc -nostdlib -static -Wl,-e,user_1 1.o 2.o 3.o 4.o 5.o -o out",
    ];
    declarations_the_other_way: OURS, "declarations-the-other-way", [
        "gcc -g -DUNIT=1 -DTARGET=1 -c {src}/declarations.c -o 1.o",
        "gcc -g -DUNIT=2 -DTARGET=2 -c {src}/declarations.c -o 2.o",
        "gcc -g -DUNIT=3 -c {src}/declarations.c -o 3.o",
        "gcc -nostdlib -static -Wl,-e,user_1 1.o 2.o 3.o -o out",
    ];
    // one signature for both `uses_ring`: the linker keeps the first
    units_type_units: OURS, "units-type-units", [
        "gcc -g -O2 -fdebug-types-section -c {src}/unit_a.c -o a.o",
        "gcc -g -O2 -fdebug-types-section -c {src}/unit_b.c -o b.o",
        "gcc -nostdlib -static -Wl,-e,only_a a.o b.o -o out",
    ];
    units_dwz: NEWEST, "units-with-types", [
        "gcc -g -O2 -fcommon -Dstart=start_a -include {src}/types.c -c {src}/unit_a.c -o a.o",
        "gcc -g -O2 -fcommon -Dstart=start_b -include {src}/types.c -c {src}/unit_b.c -o b.o",
        "gcc -nostdlib -static -Wl,-e,only_a a.o b.o -o out",
        "dwz out",
    ];
    units_dwz_dwarf4: NEWEST, "units-with-types", [
        "gcc -gdwarf-4 -O2 -fcommon -Dstart=start_a -include {src}/types.c -c {src}/unit_a.c -o a.o",
        "gcc -gdwarf-4 -O2 -fcommon -Dstart=start_b -include {src}/types.c -c {src}/unit_b.c -o b.o",
        "gcc -nostdlib -static -Wl,-e,only_a a.o b.o -o out",
        "dwz out",
    ];
    units_dwz_supplementary: NEWEST, "units-with-types", [
        "gcc -g -O2 -fcommon -Dstart=start_a -include {src}/types.c -c {src}/unit_a.c -o a.o",
        "gcc -g -O2 -fcommon -Dstart=start_b -include {src}/types.c -c {src}/unit_b.c -o b.o",
        "gcc -nostdlib -static -Wl,-e,only_a a.o b.o -o out",
        "cp out second",
        "dwz -m sup out second",
    ];
    units_dwz_supplementary_dwarf5: NEWEST, "units-with-types", [
        "gcc -g -O2 -fcommon -Dstart=start_a -include {src}/types.c -c {src}/unit_a.c -o a.o",
        "gcc -g -O2 -fcommon -Dstart=start_b -include {src}/types.c -c {src}/unit_b.c -o b.o",
        "gcc -nostdlib -static -Wl,-e,only_a a.o b.o -o out",
        "cp out second",
        "dwz -5 -m sup out second",
    ];
    annotations: NEWEST, "annotations", ["clang -g -O1 -c {src}/annotations.c -o out"];
}
