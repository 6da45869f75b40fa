//! Which instructions of a BPF program can be reached, where constants decide branches.
//!
//! An instruction whose relocation failed is made invalid, and the verifier refuses the program if it can get there. A guard
//! (`if (bpf_core_field_exists(…))`) is a relocated constant and a branch on it. So constants are propagated through the
//! program as it is after relocation: through arithmetic, spills to the stack, calls of subprograms and their results; a
//! branch on known values is followed one way only.
//!
//! What is not known (memory other than the own stack, what helpers return, `.rodata` and Kconfig variables, which the loader
//! may set) leaves both ways open. The verifier, which follows every path by itself and tracks ranges, can prove more;
//! what is found unreachable here it never reaches.

mod helpers;
mod state;
mod value;

use rustc_hash::FxHashMap;

use crate::insn::{Insn, class};
use crate::object_file::ObjectFile;
use helpers::Writes;
use state::State;
use value::Value;

/// The instructions that can be reached, of every code section of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reachable {
    sections: Vec<Vec<bool>>,
}

impl Reachable {
    /// Can this instruction of this section be reached?
    pub fn contains(&self, section: usize, insn: usize) -> bool {
        self.sections.get(section).and_then(|insns| insns.get(insn)).copied().unwrap_or(false)
    }
}

/// Finds what can be reached from the start of some functions, given by their number in [`ObjectFile::functions`].
///
/// `code` has the instructions of each code section after relocation.
pub fn reachable(object: &ObjectFile<'_>, code: &[Vec<Insn>], entries: impl IntoIterator<Item = usize>) -> Reachable {
    let mut search = Search {
        object,
        code,
        reached: code.iter().map(|insns| vec![false; insns.len()]).collect(),
        joins: join_points(object, code),
        states: FxHashMap::default(),
        pending: Vec::new(),
        results: FxHashMap::default(),
    };
    for function in entries {
        search.enter(function, State::at_entry());
    }
    while let Some(point) = search.pending.pop() {
        search.follow(point);
    }
    Reachable { sections: search.reached }
}

/// An instruction: its section's number and its index there.
type Point = (usize, usize);

struct Search<'s, 'a> {
    object: &'s ObjectFile<'a>,
    code: &'s [Vec<Insn>],
    reached: Vec<Vec<bool>>,
    /// Where ways meet, or are taken up again: targets of jumps, calls of subprograms. By section.
    joins: Vec<Vec<bool>>,
    /// What is known at each such point, and at each function's start.
    states: FxHashMap<Point, State>,
    pending: Vec<Point>,
    /// Of each function that was called: what it returns, once an exit was reached, and who called it.
    results: FxHashMap<usize, Calls>,
}

#[derive(Default)]
struct Calls {
    result: Option<Value>,
    callers: Vec<Point>,
}

/// Where an instruction leads.
enum Next {
    /// To the one after it, `0`, or further.
    Skip(usize),
    /// Nowhere, or only to points that were noted.
    End,
}

impl Search<'_, '_> {
    fn enter(&mut self, function: usize, state: State) {
        let function = &self.object.functions()[function];
        self.arrive((function.section, function.start), state);
    }

    /// Notes a way to a point, which is followed if it tells anything new.
    fn arrive(&mut self, point: Point, state: State) {
        match self.states.get_mut(&point) {
            None => {
                self.states.insert(point, state);
                self.pending.push(point);
            }
            Some(known) => {
                if known.join(&state) && !self.pending.contains(&point) {
                    self.pending.push(point);
                }
            }
        }
    }

    fn follow(&mut self, point: Point) {
        let (section, start) = point;
        let Some(mut state) = self.states.get(&point).cloned() else { return };
        let Some(number) = self.object.function_at(section, start) else { return };
        let function = &self.object.functions()[number];
        let code: &[Insn] = self.code[section].get(..function.start + function.len).unwrap_or_default();
        let mut at = start;
        while let Some(&insn) = code.get(at) {
            if at != start && self.joins[section][at] {
                return self.arrive((section, at), state);
            }
            self.reached[section][at] = true;
            match self.step(number, (section, at), insn, &mut state) {
                Next::Skip(more) => at += 1 + more,
                Next::End => return,
            }
        }
    }

    fn step(&mut self, function: usize, point: Point, insn: Insn, state: &mut State) -> Next {
        let (section, at) = point;
        match insn.class() {
            class::ALU | class::ALU64 => state.calculate(insn, self.object.endian()),
            class::LDX => state.load(insn),
            class::ST | class::STX => state.store(insn),
            class::LD if insn.is_ldimm64() => {
                let refers = self.object.has_symbol(section, at);
                if let Some(callback) = self.object.referred_function(section, at) {
                    self.enter(callback, State::at_entry());
                }
                let high = self.code[section].get(at + 1).map_or(0, |insn| insn.imm);
                let value = u64::from(insn.imm as u32) | u64::from(high as u32) << 32;
                let is_number = insn.src == 0 && !refers;
                state.set(insn.dst, if is_number { Value::Const(value) } else { Value::Foreign });
                if let Some(second) = self.reached[section].get_mut(at + 1) {
                    *second = true;
                }
                return Next::Skip(1);
            }
            // Legacy loads from a packet are like calls.
            class::LD => state.after_helper(Writes::Nothing),
            _ => return self.jump(function, point, insn, state),
        }
        Next::Skip(0)
    }

    fn jump(&mut self, function: usize, (section, at): Point, insn: Insn, state: &mut State) -> Next {
        if insn.is_exit() {
            self.leave(function, state.get(0));
            return Next::End;
        }
        if insn.is_call() {
            return self.call((section, at), insn, state);
        }
        let bounds = &self.object.functions()[function];
        let bounds = bounds.start..bounds.start + bounds.len;
        let target = |by: i64| usize::try_from(at as i64 + 1 + by).ok().filter(|at| bounds.contains(at));
        let operation = insn.code & 0xf0;
        if operation == 0 {
            let by_register = insn.code & 0x08 != 0;
            match (insn.class(), by_register) {
                (class::JMP, true) => {
                    // The targets of an indirect jump are in a map.
                    bounds.clone().for_each(|at| self.arrive((section, at), State::unknown()));
                }
                (class::JMP, false) => {
                    if let Some(target) = target(insn.off.into()) {
                        self.arrive((section, target), state.clone());
                    }
                }
                _ => {
                    if let Some(target) = target(insn.imm.into()) {
                        self.arrive((section, target), state.clone());
                    }
                }
            }
            return Next::End;
        }
        let (a, b) = (state.get(insn.dst), state.operand(insn));
        let decided = a.constant().zip(b.constant()).and_then(|(a, b)| value::jumps(insn, a, b));
        if decided != Some(false)
            && let Some(target) = target(insn.off.into())
        {
            let mut state = state.clone();
            state.learn(insn, true);
            self.arrive((section, target), state);
        }
        if decided == Some(true) {
            return Next::End;
        }
        state.learn(insn, false);
        Next::Skip(0)
    }

    fn call(&mut self, point: Point, insn: Insn, state: &mut State) -> Next {
        if insn == Insn::poison() {
            // The verifier stops here; what else is wrong behind it is of interest all the same.
            *state = State::unknown();
            return Next::Skip(0);
        }
        if !insn.is_subprogram_call() {
            let is_helper = insn.src == 0 && !self.object.has_symbol(point.0, point.1);
            state.after_helper(if is_helper { helpers::writes(insn.imm) } else { Writes::Anything });
            return Next::Skip(0);
        }
        let Some(callee) = self.object.referred_function(point.0, point.1) else {
            // Not a function that libbpf would find.
            *state = State::unknown();
            return Next::Skip(0);
        };
        let function = &self.object.functions()[callee];
        self.enter(callee, if function.global { State::at_entry() } else { state.for_callee() });
        let calls = self.results.entry(callee).or_default();
        if !calls.callers.contains(&point) {
            calls.callers.push(point);
        }
        match calls.result {
            Some(result) => {
                state.after_call(result);
                Next::Skip(0)
            }
            None => Next::End,
        }
    }

    /// Notes what a function returns. Its callers are taken up again if that is news.
    fn leave(&mut self, function: usize, value: Value) {
        // The verifier knows nothing of what a global function returns, and a pointer into a frame that is gone is none.
        let value = match value {
            Value::Const(_) if !self.object.functions()[function].global => value,
            _ => Value::Any,
        };
        let calls = self.results.entry(function).or_default();
        let joined = calls.result.map_or(value, |known| known.join(value));
        if calls.result != Some(joined) {
            calls.result = Some(joined);
            for &caller in &calls.callers {
                if !self.pending.contains(&caller) {
                    self.pending.push(caller);
                }
            }
        }
    }
}

fn join_points(object: &ObjectFile<'_>, code: &[Vec<Insn>]) -> Vec<Vec<bool>> {
    let of_section = |(section, insns): (usize, &Vec<Insn>)| {
        let mut points = vec![false; insns.len()];
        for (at, insn) in insns.iter().enumerate() {
            let by = match insn.class() {
                class::JMP if insn.is_subprogram_call() => {
                    points[at] = true;
                    continue;
                }
                class::JMP if insn.is_call() || insn.is_exit() => continue,
                class::JMP => i64::from(insn.off),
                // A jump with a 32-bit offset.
                class::JMP32 if insn.code & 0xf0 == 0 => i64::from(insn.imm),
                class::JMP32 => i64::from(insn.off),
                _ => continue,
            };
            if let Ok(target) = usize::try_from(at as i64 + 1 + by)
                && let Some(point) = points.get_mut(target)
            {
                *point = true;
            }
            // An indirect jump may lead anywhere in its function.
            if insn.class() == class::JMP
                && insn.code & 0xf8 == 0x08
                && let Some(function) = object.function_at(section, at)
            {
                let function = &object.functions()[function];
                points[function.start..function.start + function.len].fill(true);
            }
        }
        points
    };
    code.iter().enumerate().map(of_section).collect()
}
