//! Which function of a file accesses the same fields of structs as one of another build does.
//!
//! Where a field lies is the same for all compilers, if the source and the configuration are the same; and what a function does to
//! structs stays when its code is arranged anew. So it tells functions apart by something that neither likeness of code nor callers do.

use crate::model::{Kind, Model};
use rustc_hash::FxHashMap;

/// Which functions of a file access a field at a place.
pub(crate) struct Fields<'m> {
    model: &'m Model,
    /// By place; of functions only, not of cold parts.
    of: FxHashMap<u32, Vec<u32>>,
    /// How many functions there are.
    count: f32,
}

/// The function that accesses the same fields.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Alike {
    pub(crate) function: u32,
    /// How much of all fields that either accesses both do, each by how rare it is: 0 to 1.
    pub(crate) shared: f32,
    /// The same of the next best function.
    pub(crate) next: f32,
}

impl<'m> Fields<'m> {
    pub(crate) fn of(model: &'m Model) -> Fields<'m> {
        let mut of: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
        let mut count = 0.0;
        let whole = model.functions.iter().enumerate().filter(|(_, one)| one.kind == Kind::Entry);
        for (function, _) in whole {
            count += 1.0;
            for field in model.fields(function as u32) {
                of.entry(*field).or_default().push(function as u32);
            }
        }
        Fields { model, of, count }
    }

    /// What a place tells: nothing where most functions access one there.
    fn weight(&self, field: u32) -> f32 {
        let functions = self.of.get(&field).map_or(1, |functions| functions.len().max(1));
        (self.count / functions as f32).ln().max(0.0)
    }

    /// The function whose fields are most like those; `None` where they tell too little.
    pub(crate) fn most_alike(&self, fields: &[u32]) -> Option<Alike> {
        /// A place that more functions than this access one at leads to none of them.
        const MOST: usize = 400;
        /// What a function's fields must tell, in all: three that one of a hundred functions accesses.
        const LEAST: f32 = 13.8;
        let all: f32 = fields.iter().map(|field| self.weight(*field)).sum();
        if all < LEAST {
            return None;
        }
        let mut shared: FxHashMap<u32, f32> = FxHashMap::default();
        for functions in fields.iter().filter_map(|field| self.of.get(field)).filter(|some| some.len() <= MOST) {
            for function in functions {
                shared.entry(*function).or_default();
            }
        }
        for (function, both) in &mut shared {
            let own = self.model.fields(*function);
            let (mut common, mut either) = (0.0, all);
            for field in own {
                let weight = self.weight(*field);
                match fields.binary_search(field) {
                    Ok(_) => common += weight,
                    Err(_) => either += weight,
                }
            }
            *both = common / either;
        }
        let mut best: Vec<(f32, u32)> = shared.into_iter().map(|(function, both)| (both, function)).collect();
        best.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)));
        let (first, function) = *best.first()?;
        Some(Alike { function, shared: first, next: best.get(1).map_or(0.0, |second| second.0) })
    }
}
