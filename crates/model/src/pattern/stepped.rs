//! The NFA stepped as a set of states, for what a lazy DFA can't do: word boundaries between any two characters.
//!
//! Exact and in constant memory; every byte costs time in proportion to the states that are alive. (Thompson's simulation,
//! as in regex-automata's PikeVM without captures or priorities: only *whether* each pattern matches is asked.)

use super::Matched;
use regex_automata::{
    nfa::thompson::{NFA, State},
    util::{look::LookMatcher, primitives::StateID},
};

/// A word boundary looks at one character on either side: at most four bytes.
const REACH: usize = 4;

pub struct Stepped {
    nfa: NFA,
    looks: LookMatcher,
}

pub struct Run {
    /// States before the next byte, without the closure over empty transitions.
    alive: StateSet,
    next: StateSet,
    closed: StateSet,
    stack: Vec<StateID>,
    /// The last bytes before `at`, then those that have come but not been stepped: their context is not complete.
    window: Vec<u8>,
    /// Where in the window the next step is.
    at: usize,
}

/// A set of states with insertion, membership and clearing in constant time.
struct StateSet {
    dense: Vec<StateID>,
    sparse: Vec<u32>,
}

impl StateSet {
    fn new(states: usize) -> Self {
        Self { dense: Vec::with_capacity(states.min(256)), sparse: vec![0; states] }
    }

    fn insert(&mut self, id: StateID) -> bool {
        let at = self.sparse[id.as_usize()] as usize;
        if self.dense.get(at) == Some(&id) {
            return false;
        }
        self.sparse[id.as_usize()] = u32::try_from(self.dense.len()).expect("as many as states, which are 32 bits");
        self.dense.push(id);
        true
    }
}

impl Stepped {
    pub fn new(nfa: NFA) -> Self {
        let looks = nfa.look_matcher().clone();
        Self { nfa, looks }
    }

    pub fn start(&self) -> Run {
        let set = || StateSet::new(self.nfa.states().len());
        Run { alive: set(), next: set(), closed: set(), stack: Vec::new(), window: Vec::new(), at: 0 }
    }

    pub fn feed(&self, run: &mut Run, chunk: &[u8], matched: &mut Matched) {
        // In pieces, so that the window stays small whatever the chunk.
        for piece in chunk.chunks(8192) {
            run.window.extend_from_slice(piece);
            self.advance(run, run.window.len().saturating_sub(REACH), matched);
            let behind = run.at.saturating_sub(REACH);
            run.window.drain(..behind);
            run.at -= behind;
        }
    }

    pub fn finish(&self, run: &mut Run, matched: &mut Matched) {
        self.advance(run, run.window.len(), matched);
        self.close(run, matched);
    }

    /// Steps over the window's bytes up to `end`.
    fn advance(&self, run: &mut Run, end: usize, matched: &mut Matched) {
        while run.at < end && !matched.all() {
            self.close(run, matched);
            let byte = run.window[run.at];
            run.next.dense.clear();
            for &id in &run.closed.dense {
                let to = match self.nfa.state(id) {
                    State::ByteRange { trans } => trans.matches_byte(byte).then_some(trans.next),
                    State::Sparse(t) => t.matches_byte(byte),
                    State::Dense(t) => t.matches_byte(byte),
                    State::Look { .. }
                    | State::Union { .. }
                    | State::BinaryUnion { .. }
                    | State::Capture { .. }
                    | State::Fail
                    | State::Match { .. } => None,
                };
                if let Some(to) = to {
                    run.next.insert(to);
                }
            }
            std::mem::swap(&mut run.alive, &mut run.next);
            run.at += 1;
        }
    }

    /// All states reachable at this place without a byte, a new attempt included, since patterns are unanchored.
    fn close(&self, run: &mut Run, matched: &mut Matched) {
        run.closed.dense.clear();
        run.stack.clear();
        run.stack.extend(run.alive.dense.iter().rev());
        run.stack.push(self.nfa.start_anchored());
        while let Some(id) = run.stack.pop() {
            if !run.closed.insert(id) {
                continue;
            }
            match self.nfa.state(id) {
                State::Look { look, next } => {
                    if self.looks.matches(*look, &run.window, run.at) {
                        run.stack.push(*next);
                    }
                }
                State::Union { alternates } => run.stack.extend(alternates.iter()),
                State::BinaryUnion { alt1, alt2 } => run.stack.extend([*alt1, *alt2]),
                State::Capture { next, .. } => run.stack.push(*next),
                State::Match { pattern_id } => matched.set(*pattern_id),
                State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) | State::Fail => {}
            }
        }
    }
}
