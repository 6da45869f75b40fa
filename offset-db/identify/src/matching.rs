//! Which function of one file is which of another.
//!
//! ```text
//! unique hashes (all of the code; without numbers; operations only; texts) ──> first matches
//!   ┌─> candidates: the same place in a matched caller, among matched neighbours in the file, in a table of pointers
//!   └── the most alike of them, if no other is nearly so ──> more matches
//! last: what of a match does not fit its surroundings is taken back
//! ```

use crate::align::align;
use crate::model::{DISTINCT, Model, Reference};
use crate::similar::similarity;
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

/// What speaks for a match: a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Evidence(pub u16);

impl Evidence {
    /// All of its code is the same, but for where things lie; and no other's is.
    pub const EXACT: Evidence = Evidence(1);
    /// Its code without numbers is the same, and no other's is.
    pub const SHAPE: Evidence = Evidence(2);
    /// Its operations are the same, and no other's are.
    pub const OPERATIONS: Evidence = Evidence(4);
    /// It refers to the same texts, and no other does.
    pub const TEXTS: Evidence = Evidence(8);
    /// A matched function calls it in the same place.
    pub const CALLS: Evidence = Evidence(16);
    /// It calls matched functions.
    pub const CALLED: Evidence = Evidence(32);
    /// It lies between matched functions.
    pub const ORDER: Evidence = Evidence(64);
    /// It has the same place in a table of pointers.
    pub const TABLE: Evidence = Evidence(128);
    /// Its first operations are the same: it is no part of the other that is jumped to behind its begin.
    pub const BEGIN: Evidence = Evidence(256);
    /// Against it: matched functions call it in the labelled file, and none of them does in the other.
    pub const UNCALLED: Evidence = Evidence(512);
    /// Against it: in one of the files, a small function without a match does nothing but go on with it. That one may be the function, and
    /// this its part that was split off; or the two became one.
    pub const WRAPPED: Evidence = Evidence(1024);
    /// Against it: the stripped file has another function much like it, and it is nearly as like what is looked for; or the labelled file
    /// has no such other: one of the two is a copy that the compiler made for some callers.
    pub const TWIN: Evidence = Evidence(2048);
    /// Its very first operations are the same: nothing was inlined before them.
    pub const FIRST: Evidence = Evidence(16384);
    /// It accesses the same fields.
    pub const FIELDS: Evidence = Evidence(4096);
    /// Against it: the compiler split it, and callers go past its begin.
    pub const PARTED: Evidence = Evidence(8192);

    /// Whether it has all of another.
    #[must_use]
    pub fn has(self, other: Evidence) -> bool {
        self.0 & other.0 == other.0
    }

    /// Without another.
    #[must_use]
    pub fn without(self, other: Evidence) -> Evidence {
        Evidence(self.0 & !other.0)
    }

    /// With another.
    #[must_use]
    pub fn and(self, other: Evidence) -> Evidence {
        Evidence(self.0 | other.0)
    }
}

/// A function of one file and of another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// Its index in the labelled file.
    pub from: u32,
    /// Its index in the stripped one.
    pub to: u32,
    /// How alike they are by themselves, 0 to 1.
    pub similarity: f32,
    /// By what it was found.
    pub found: Evidence,
    /// What speaks for it.
    pub evidence: Evidence,
}

/// What was matched, in order of the labelled file.
#[derive(Clone, Debug, Default)]
pub struct Matches(pub Vec<Match>);

/// Matches the functions of a labelled file with those of another.
#[must_use]
pub fn match_models(from: &Model, to: &Model) -> Matches {
    let mut matching = Matching {
        a: from,
        b: to,
        forward: vec![None; from.functions.len()],
        backward: vec![None; to.functions.len()],
    };
    for (evidence, key, shortest) in [
        (Evidence::EXACT, (|model, f| model_key(model, f, |function| function.exact)) as fn(&Model, u32) -> u64, 6),
        (Evidence::SHAPE, |model, f| model_key(model, f, |function| function.shape), DISTINCT),
        (Evidence::OPERATIONS, |model, f| model_key(model, f, |function| function.operations), 20),
    ] {
        matching.by_key(evidence, shortest, key);
    }
    matching.by_texts();
    for round in 0..ROUNDS {
        let added = matching.spread(FLOORS[round.min(FLOORS.len() - 1)]);
        if added == 0 && round >= FLOORS.len() {
            break;
        }
    }
    matching.take_back();
    matching.spread(FLOORS[FLOORS.len() - 1]);
    matching.finish()
}

/// The most rounds of spreading.
const ROUNDS: usize = 12;

/// How alike functions must be, in each round.
const FLOORS: [f32; 4] = [0.8, 0.6, 0.45, 0.3];

fn model_key(model: &Model, f: u32, hash: fn(&crate::Function) -> u64) -> u64 {
    hash(&model.functions[f as usize])
}

#[derive(Clone, Copy)]
struct Found {
    other: u32,
    similarity: f32,
    found: Evidence,
}

struct Matching<'m> {
    a: &'m Model,
    b: &'m Model,
    forward: Vec<Option<Found>>,
    backward: Vec<Option<u32>>,
}

impl Matching<'_> {
    fn set(&mut self, from: u32, to: u32, similarity: f32, found: Evidence) {
        self.forward[from as usize] = Some(Found { other: to, similarity, found });
        self.backward[to as usize] = Some(from);
    }

    fn of(&self, from: u32) -> Option<u32> {
        self.forward[from as usize].map(|found| found.other)
    }

    /// Whether two are both without a match and of one kind.
    fn are_free(&self, from: u32, to: u32) -> bool {
        self.forward[from as usize].is_none()
            && self.backward[to as usize].is_none()
            && self.a.functions[from as usize].kind == self.b.functions[to as usize].kind
    }

    /// Matches what has a key that no other free function of either file has.
    fn by_key(&mut self, evidence: Evidence, shortest: u32, key: impl Fn(&Model, u32) -> u64) {
        let only = |model: &Model, is_free: &dyn Fn(usize) -> bool| {
            let mut map: FxHashMap<u64, Option<u32>> = FxHashMap::default();
            for (index, function) in model.functions.iter().enumerate() {
                if function.instructions >= shortest && is_free(index) {
                    map.entry(key(model, index as u32)).and_modify(|one| *one = None).or_insert(Some(index as u32));
                }
            }
            map
        };
        let left = only(self.a, &|index| self.forward[index].is_none());
        let right = only(self.b, &|index| self.backward[index].is_none());
        let mut pairs: Vec<(u32, u32)> =
            left.iter().filter_map(|(key, from)| Some(((*from)?, (*right.get(key)?)?))).collect();
        pairs.sort_unstable();
        for (from, to) in pairs {
            if self.are_free(from, to) {
                let alike = similarity(self.a, from, self.b, to);
                self.set(from, to, alike, evidence);
            }
        }
    }

    /// Matches what refers to texts that no other function refers to.
    fn by_texts(&mut self) {
        let texts = |model: &Model| {
            let mut of: FxHashMap<u64, Option<u32>> = FxHashMap::default();
            for index in 0..model.functions.len() as u32 {
                let own: FxHashSet<u64> = model.references(index).iter().filter_map(text).collect();
                for text in own {
                    of.entry(text).and_modify(|one| *one = None).or_insert(Some(index));
                }
            }
            of
        };
        let (left, right) = (texts(self.a), texts(self.b));
        let mut votes: FxHashMap<(u32, u32), u32> = FxHashMap::default();
        for (text, from) in &left {
            if let (Some(from), Some(Some(to))) = (from, right.get(text)) {
                *votes.entry((*from, *to)).or_default() += 1;
            }
        }
        let candidates = votes.into_iter().map(|((from, to), count)| Candidate {
            from,
            to,
            score: similarity(self.a, from, self.b, to) + 0.2 * (count as f32).min(3.0),
            found: Evidence::TEXTS,
        });
        let candidates = candidates.filter(|one| self.are_free(one.from, one.to)).collect();
        self.accept(candidates, 0.6);
    }

    /// Matches what lies in the place of another, by what is matched already. Gives how many.
    fn spread(&mut self, floor: f32) -> usize {
        let mut votes: FxHashMap<(u32, u32), (f32, Evidence)> = FxHashMap::default();
        let mut vote = |pairs: Vec<(u32, u32)>, weight: f32, evidence: Evidence| {
            for pair in pairs {
                let entry = votes.entry(pair).or_default();
                entry.0 += weight;
                entry.1 = entry.1.and(evidence);
            }
        };
        let matched: Vec<(u32, u32)> = self.pairs().collect();
        let called: Vec<Vec<(u32, u32)>> = matched.par_iter().map(|&(f, g)| self.by_place(f, g)).collect();
        called.into_iter().for_each(|pairs| vote(pairs, 0.15, Evidence::CALLS));
        for &(f, g) in &matched {
            vote(self.by_only_caller(f, g), 0.1, Evidence::CALLED);
        }
        let gaps = self.gaps();
        let ordered: Vec<Vec<(u32, u32)>> = gaps.par_iter().map(|gap| self.in_gap(gap)).collect();
        ordered.into_iter().for_each(|pairs| vote(pairs, 0.15, Evidence::ORDER));
        vote(self.by_tables(), 0.3, Evidence::TABLE);
        let mut candidates: Vec<Candidate> = votes
            .into_iter()
            .filter(|((from, to), _)| self.are_free(*from, *to))
            .map(|((from, to), (weight, found))| Candidate { from, to, score: weight.min(0.6), found })
            .collect();
        candidates.par_iter_mut().for_each(|one| one.score += similarity(self.a, one.from, self.b, one.to));
        self.accept(candidates, floor)
    }

    fn pairs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.forward.iter().enumerate().filter_map(|(from, found)| Some((from as u32, found.as_ref()?.other)))
    }

    /// The functions that a matched pair refers to in the same places.
    fn by_place(&self, f: u32, g: u32) -> Vec<(u32, u32)> {
        let (left, right) = (self.a.references(f), self.b.references(g));
        let is_open = left.iter().any(|one| function(one).is_some_and(|to| self.of(to).is_none()));
        if !is_open {
            return Vec::new();
        }
        let pairs = align(left.len(), right.len(), |i, j| match (left[i], right[j]) {
            (Reference::Call(x), Reference::Call(y)) | (Reference::Address(x), Reference::Address(y)) => {
                if self.of(x) == Some(y) {
                    2.0
                } else if self.are_free(x, y) {
                    similarity(self.a, x, self.b, y) - 0.15
                } else {
                    0.0
                }
            }
            (Reference::Data(_), Reference::Data(_)) => 0.1,
            (x, y) if x == y => 1.5,
            _ => 0.0,
        });
        let functions = pairs.into_iter().filter_map(|(i, j)| Some((function(&left[i])?, function(&right[j])?)));
        functions.filter(|&(x, y)| self.are_free(x, y)).collect()
    }

    /// The only callers of a matched pair that have no match.
    fn by_only_caller(&self, f: u32, g: u32) -> Vec<(u32, u32)> {
        const MOST: usize = 8;
        let left: Vec<u32> =
            self.a.callers(f).iter().copied().filter(|one| self.of(*one).is_none()).take(MOST).collect();
        let right: Vec<u32> =
            self.b.callers(g).iter().copied().filter(|one| self.backward[*one as usize].is_none()).take(MOST).collect();
        if left.len() == MOST || right.len() == MOST {
            return Vec::new();
        }
        let pairs = left.iter().flat_map(|x| right.iter().map(move |y| (*x, *y)));
        pairs.filter(|&(x, y)| self.are_free(x, y) && similarity(self.a, x, self.b, y) > 0.3).collect()
    }

    /// Runs of functions without a match, between two matched ones that are as near in both files.
    fn gaps(&self) -> Vec<Gap> {
        const WIDEST: u32 = 400;
        let matched: Vec<(u32, u32)> = self.pairs().collect();
        let mut gaps = Vec::new();
        for pair in matched.windows(2) {
            let ((f, g), (next_f, next_g)) = (pair[0], pair[1]);
            let within = next_f - f - 1;
            if within > 0 && next_g > g + 1 && within <= WIDEST && next_g - g - 1 <= WIDEST {
                gaps.push(Gap { left: f + 1..next_f, right: g + 1..next_g });
            }
        }
        gaps
    }

    fn in_gap(&self, gap: &Gap) -> Vec<(u32, u32)> {
        let left: Vec<u32> = gap.left.clone().collect();
        let right: Vec<u32> = gap.right.clone().filter(|one| self.backward[*one as usize].is_none()).collect();
        let score = |i: usize, j: usize| match self.are_free(left[i], right[j]) {
            true => similarity(self.a, left[i], self.b, right[j]) - 0.2,
            false => 0.0,
        };
        align(left.len(), right.len(), score).into_iter().map(|(i, j)| (left[i], right[j])).collect()
    }

    /// Functions of the same place in tables of pointers, between two matched ones.
    fn by_tables(&self) -> Vec<(u32, u32)> {
        let places: FxHashMap<u32, Vec<usize>> =
            self.b.pointers.iter().enumerate().fold(FxHashMap::default(), |mut places, (at, pointer)| {
                places.entry(pointer.1).or_insert_with(Vec::new).push(at);
                places
            });
        let mut found = Vec::new();
        for (at, (place, f)) in self.a.pointers.iter().enumerate() {
            // a table is where an anchor is: a function that only this table has
            let Some(g) = self.of(*f) else { continue };
            let Some([other]) = places.get(&g).map(Vec::as_slice) else { continue };
            for step in [1isize, -1] {
                let mut distance = step;
                let beside = |pointers: &[(u64, u32)], at: usize, distance| {
                    at.checked_add_signed(distance).and_then(|at| pointers.get(at).copied())
                };
                while let (Some(x), Some(y)) =
                    (beside(&self.a.pointers, at, distance), beside(&self.b.pointers, *other, distance))
                {
                    let (far_a, far_b) = (x.0.wrapping_sub(*place), y.0.wrapping_sub(self.b.pointers[*other].0));
                    if far_a != far_b || distance.unsigned_abs() > 16 || !self.are_free(x.1, y.1) {
                        break;
                    }
                    found.push((x.1, y.1));
                    distance += step;
                }
            }
        }
        found
    }

    /// Takes candidates, best first, where no other for either of the two is nearly as good. Gives how many.
    fn accept(&mut self, mut candidates: Vec<Candidate>, floor: f32) -> usize {
        const MARGIN: f32 = 0.08;
        candidates
            .sort_unstable_by(|x, y| y.score.total_cmp(&x.score).then_with(|| (x.from, x.to).cmp(&(y.from, y.to))));
        // the best and the second of each
        let mut of_left: FxHashMap<u32, [f32; 2]> = FxHashMap::default();
        let mut of_right: FxHashMap<u32, [f32; 2]> = FxHashMap::default();
        for one in &candidates {
            for scores in [of_left.entry(one.from).or_default(), of_right.entry(one.to).or_default()] {
                if one.score > scores[0] {
                    *scores = [one.score, scores[0]];
                } else if one.score > scores[1] {
                    scores[1] = one.score;
                }
            }
        }
        let mut added = 0;
        for one in candidates {
            if one.score < floor {
                break;
            }
            let rival = of_left[&one.from][1].max(of_right[&one.to][1]);
            if one.score - rival >= MARGIN && self.are_free(one.from, one.to) {
                let alike = similarity(self.a, one.from, self.b, one.to);
                self.set(one.from, one.to, alike, one.found);
                added += 1;
            }
        }
        added
    }

    /// Takes back what does not fit its surroundings.
    fn take_back(&mut self) {
        let wrong: Vec<u32> = self
            .pairs()
            .filter(|&(f, g)| {
                let found = self.forward[f as usize].map_or(Evidence::default(), |found| found.found);
                let (agree, differ) = self.surroundings(f, g);
                let is_sure = found.has(Evidence::EXACT);
                differ > agree * 2 + if is_sure { 2 } else { 0 }
            })
            .map(|(f, _)| f)
            .collect();
        for f in wrong {
            if let Some(found) = self.forward[f as usize].take() {
                self.backward[found.other as usize] = None;
            }
        }
    }

    /// How many of the matched functions that call one or that it calls are matched to such of the other, and how many not.
    fn surroundings(&self, f: u32, g: u32) -> (usize, usize) {
        let refers: FxHashSet<u32> = self.b.references(g).iter().filter_map(function).collect();
        let own: FxHashSet<u32> = self.a.references(f).iter().filter_map(function).collect();
        let callers = self.b.callers(g);
        let callees = own.iter().filter_map(|one| self.of(*one)).map(|one| refers.contains(&one));
        let called =
            self.a.callers(f).iter().filter_map(|one| self.of(*one)).map(|one| callers.binary_search(&one).is_ok());
        callees
            .chain(called)
            .fold((0, 0), |(agree, differ), fits| if fits { (agree + 1, differ) } else { (agree, differ + 1) })
    }

    fn finish(self) -> Matches {
        let matches: Vec<Match> = self
            .forward
            .iter()
            .enumerate()
            .filter_map(|(from, found)| {
                let found = found.as_ref()?;
                let from = from as u32;
                let evidence = self.evidence(from, found);
                Some(Match { from, to: found.other, similarity: found.similarity, found: found.found, evidence })
            })
            .collect();
        Matches(matches)
    }

    /// What speaks for a match, now that all are known.
    fn evidence(&self, f: u32, found: &Found) -> Evidence {
        let g = found.other;
        let mut evidence = found.found;
        let (one, other) = (&self.a.functions[f as usize], &self.b.functions[g as usize]);
        for (same, what) in [
            (one.exact == other.exact, Evidence::EXACT),
            (one.shape == other.shape, Evidence::SHAPE),
            (one.operations == other.operations, Evidence::OPERATIONS),
        ] {
            if same && one.instructions >= 12 {
                evidence = evidence.and(what);
            }
        }
        if shared(&one.begin, &other.begin) * 4 >= one.begin.len() * 3 {
            evidence = evidence.and(Evidence::BEGIN);
        }
        if shared(&one.begin[..FIRST], &other.begin[..FIRST]) + 1 >= FIRST {
            evidence = evidence.and(Evidence::FIRST);
        }
        let refers: FxHashSet<u32> = self.b.references(g).iter().filter_map(function).collect();
        let own: FxHashSet<u32> = self.a.references(f).iter().filter_map(function).collect();
        let fits = own.iter().filter_map(|one| self.of(*one)).filter(|one| refers.contains(one)).count();
        if fits > 0 && fits * 3 >= own.iter().filter(|one| self.of(**one).is_some()).count() * 2 {
            evidence = evidence.and(Evidence::CALLED);
        }
        let callers = self.a.callers(f);
        let matched = callers.iter().filter_map(|one| self.of(*one));
        let (agree, all) = matched.fold((0, 0), |(agree, all), one| {
            (agree + usize::from(self.b.callers(g).binary_search(&one).is_ok()), all + 1)
        });
        if agree > 0 && agree * 3 >= all * 2 {
            evidence = evidence.and(Evidence::CALLS);
        }
        if agree == 0 && all > 0 {
            evidence = evidence.and(Evidence::UNCALLED);
        }
        // a twin that none of the callers calls is told apart by them
        let by_callers: Vec<u32> = callers.iter().filter_map(|one| self.of(*one)).collect();
        let is_called = |twin: u32| by_callers.iter().any(|one| self.b.callers(twin).binary_search(one).is_ok());
        let is_rival = |twin: &u32| !evidence.has(Evidence::CALLS) || is_called(*twin);
        let rivals: Vec<u32> = twins(self.b, g).into_iter().filter(is_rival).collect();
        let is_as_good = |twin: &u32| similarity(self.a, f, self.b, *twin) + CLEARLY > found.similarity;
        if found.similarity < NEARLY_SAME && rivals.iter().any(is_as_good)
            || !rivals.is_empty() && twins(self.a, f).is_empty()
        {
            evidence = evidence.and(Evidence::TWIN);
        }
        let is_open = |caller: &&u32| self.backward[**caller as usize].is_none();
        let is_lost = |caller: &&u32| self.forward[**caller as usize].is_none();
        if self.b.callers(g).iter().filter(is_open).any(|caller| wraps(self.b, *caller, g))
            || callers.iter().filter(is_lost).any(|caller| wraps(self.a, *caller, f))
        {
            evidence = evidence.and(Evidence::WRAPPED);
        }
        let neighbour = |step: isize| {
            (1..=3isize).find_map(|far| {
                let x = (f as usize).checked_add_signed(step * far).filter(|x| *x < self.forward.len())?;
                let y = self.of(x as u32)?;
                Some((i64::from(y) - i64::from(g)) * step as i64)
            })
        };
        let near = |far: Option<i64>| far.is_some_and(|far| (1..=8).contains(&far));
        if near(neighbour(1)) && near(neighbour(-1)) {
            evidence = evidence.and(Evidence::ORDER);
        }
        evidence
    }
}

/// Whether a function is small and refers to one function only, `callee`.
fn wraps(model: &Model, caller: u32, callee: u32) -> bool {
    const LARGEST: u32 = 24;
    let own = &model.functions[caller as usize];
    own.instructions <= LARGEST
        && own.instructions < model.functions[callee as usize].instructions
        && model.references(caller).iter().filter_map(function).all(|to| to == callee)
}

/// By how much a function must be more alike than its twins, where it is not nearly the same.
const CLEARLY: f32 = 0.05;

/// How alike functions are whose code did not change but for the compiler.
pub(crate) const NEARLY_SAME: f32 = 0.9;

/// The other functions of a file of nearly the same size and code, that call some of the same functions.
fn twins(model: &Model, of: u32) -> Vec<u32> {
    const MOST_CALLERS: usize = 64;
    const ALIKE: f32 = 0.75;
    let size = model.functions[of as usize].instructions;
    let of_size = |other: u32| (size * 2 / 3..=size * 3 / 2).contains(&model.functions[other as usize].instructions);
    let called: FxHashSet<u32> = model.references(of).iter().filter_map(function).collect();
    let lists = called.iter().map(|callee| model.callers(*callee)).filter(|callers| callers.len() <= MOST_CALLERS);
    // and beside it: of the same unit
    const BESIDE: u32 = 32;
    let last = model.functions.len() as u32;
    let beside = of.saturating_sub(BESIDE)..of.saturating_add(BESIDE).min(last);
    let all = lists.flatten().copied().chain(beside);
    let others: FxHashSet<u32> = all.filter(|other| *other != of && of_size(*other)).collect();
    others.into_iter().filter(|other| similarity(model, of, model, *other) >= ALIKE).collect()
}

/// How many of a function's first operations are its very first ones.
const FIRST: usize = 8;

/// How many operations two lists share, in whatever order.
fn shared(one: &[u16], other: &[u16]) -> usize {
    let (mut one, mut other) = (one.to_vec(), other.to_vec());
    one.sort_unstable();
    other.sort_unstable();
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while i < one.len() && j < other.len() {
        match one[i].cmp(&other[j]) {
            std::cmp::Ordering::Equal => (i, j, shared) = (i + 1, j + 1, shared + 1),
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
        }
    }
    shared
}

/// Functions without a match between matched ones, in both files.
struct Gap {
    left: std::ops::Range<u32>,
    right: std::ops::Range<u32>,
}

struct Candidate {
    from: u32,
    to: u32,
    score: f32,
    found: Evidence,
}

fn function(reference: &Reference) -> Option<u32> {
    match reference {
        Reference::Call(to) | Reference::Address(to) => Some(*to),
        _ => None,
    }
}

fn text(reference: &Reference) -> Option<u64> {
    match reference {
        Reference::Text(text) => Some(*text),
        _ => None,
    }
}
