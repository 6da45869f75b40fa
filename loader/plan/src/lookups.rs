//! What plans look up in a kernel's types by name: what minimal BTF must have besides what relocations need, to tell as much as the whole.

use btf::Kind;
use btf::core_relo::{Candidates, Target};
use btf::minimize::{ByName, Enumerator};
use btf::object_file::ObjectFile;

use crate::judge;
use crate::kernel::{A_TRACEPOINT, BpfEnum, EVERY_KERNEL_HAS};
use crate::needs;
use crate::section::{Attach, SectionKind};

/// What the plans of these objects look up on the kernel that has these types, whichever of their code is reached there.
pub fn lookups<'o, 'a: 'o>(objects: impl IntoIterator<Item = &'o ObjectFile<'a>>, target: &Target<'_>) -> ByName {
    let mut all = ByName::default();
    let mut types = vec![(EVERY_KERNEL_HAS[0].to_owned(), Kind::Func), (A_TRACEPOINT.to_owned(), Kind::Typedef)];
    types.extend(judge::READ_ITS_TYPES.map(|name| (name.to_owned(), Kind::Func)));
    for object in objects {
        types.extend(needs::declarations(object));
        all.heads.extend(needs::roots(object).into_iter().filter(|(_, kind)| *kind == Kind::Struct).map(|root| root.0));
        let helpers = needs::helpers(object);
        let mut named = |of: BpfEnum, short: &str| {
            all.enumerators.insert((of.name().to_owned(), Enumerator::Named(of.whole_name(short))));
        };
        for kind in object.sections().iter().filter_map(|section| SectionKind::of(&section.name)) {
            named(BpfEnum::ProgType, kind.prog_type);
            judge::attach_type(&kind).into_iter().for_each(|short| named(BpfEnum::AttachType, short));
            let structure = match kind.attach {
                Attach::Function => Some(judge::TRAMPOLINE),
                Attach::KprobeMulti => Some(judge::KPROBE_MULTI),
                Attach::UprobeMulti => Some(judge::UPROBE_MULTI),
                _ => None,
            };
            types.extend(structure.map(|name| (name.to_owned(), Kind::Struct)));
        }
        named(BpfEnum::Command, judge::GLOBAL_DATA_CAME_WITH);
        let mut valued = |of: BpfEnum, number: u32| {
            all.enumerators.insert((of.name().to_owned(), Enumerator::Valued(number.into())));
        };
        for helper in helpers {
            valued(BpfEnum::Helper, helper);
            judge::stands_for(helper).into_iter().for_each(|other| valued(BpfEnum::Helper, other));
        }
        for map in needs::maps(object) {
            let of_streams = [needs::RING_BUFFER, needs::PERF_EVENT_ARRAY];
            let others = map.stream().is_some().then_some(of_streams).into_iter().flatten();
            others.chain([map.map_type]).for_each(|number| valued(BpfEnum::MapType, number));
        }
    }
    // records are looked at where tracepoints have no types
    let tracepoint = Candidates::search(target, [(A_TRACEPOINT.as_bytes(), Kind::Typedef)].into_iter());
    if tracepoint.of(A_TRACEPOINT.as_bytes(), Kind::Typedef).next().is_some() {
        types.retain(|(name, kind)| *kind != Kind::Struct || !needs::is_tracepoint_record(name));
    }
    all.types = types.into_iter().collect();
    all
}
