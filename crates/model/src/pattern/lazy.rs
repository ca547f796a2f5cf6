//! The lazy DFA, stepped over chunks.

use super::Matched;
use regex_automata::{
    Anchored, MatchKind, Span,
    hybrid::{
        LazyStateID,
        dfa::{Cache, DFA},
    },
    nfa::thompson::NFA,
    util::{prefilter::Prefilter, start, syntax},
};
use std::sync::{Mutex, PoisonError};

/// What the states made for one body may take before they are thrown away and made again.
const CACHE_CAPACITY: usize = 512 << 10;
/// Caches kept for the next bodies of the same patterns.
const POOLED: usize = 8;

pub struct Lazy {
    dfa: DFA,
    /// A fast search for where a match could begin; there only when nothing before that place matters to the patterns.
    prefilter: Option<LiteralStart>,
    pool: Mutex<Vec<Cache>>,
}

struct LiteralStart {
    finder: Prefilter,
    longest: usize,
}

pub struct Run {
    cache: Cache,
    state: LazyStateID,
}

impl Lazy {
    pub fn new(nfa: NFA, texts: &[String]) -> Result<Self, String> {
        let nothing_before = nfa.look_set_prefix_any().is_empty();
        let prefilter = if nothing_before { LiteralStart::of(texts) } else { None };
        let config = DFA::config()
            .match_kind(MatchKind::All) // every pattern that matches anywhere, not the leftmost one
            .specialize_start_states(prefilter.is_some())
            .cache_capacity(CACHE_CAPACITY)
            .skip_cache_capacity_check(true);
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa).map_err(|e| super::why(&e))?;
        Ok(Self { dfa, prefilter, pool: Mutex::new(Vec::new()) })
    }

    pub fn start(&self) -> Run {
        let pooled = self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut cache = pooled.unwrap_or_else(|| self.dfa.create_cache());
        let at_text_start = start::Config::new().anchored(Anchored::No);
        let state =
            self.dfa.start_state(&mut cache, &at_text_start).expect("unanchored, no quit bytes, no limit on clearing");
        Run { cache, state }
    }

    pub fn give_back(&self, run: Run) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.len() < POOLED {
            pool.push(run.cache);
        }
    }

    pub fn feed(&self, run: &mut Run, chunk: &[u8], matched: &mut Matched) {
        let Run { cache, state } = run;
        let mut sid = *state;
        let mut i = 0;
        while i < chunk.len() {
            if sid.is_tagged() {
                if sid.is_match() {
                    self.note(cache, sid, matched);
                }
                if sid.is_dead() || matched.all() {
                    break;
                }
                if let (true, Some(literals)) = (sid.is_start(), &self.prefilter) {
                    i = literals.skip(chunk, i);
                    if i == chunk.len() {
                        break;
                    }
                }
                sid = self.next(cache, sid, chunk[i]);
                i += 1;
                continue;
            }
            // The usual case, without a look at the kind of each state.
            let mut before = sid;
            while i < chunk.len() && !sid.is_tagged() {
                before = sid;
                sid = self.dfa.next_state_untagged(cache, sid, chunk[i]);
                i += 1;
            }
            if sid.is_unknown() {
                sid = self.next(cache, before, chunk[i - 1]);
            }
        }
        *state = sid;
    }

    pub fn finish(&self, run: &mut Run, matched: &mut Matched) {
        let Run { cache, state } = run;
        if state.is_match() {
            self.note(cache, *state, matched);
        }
        let last = self.dfa.next_eoi_state(cache, *state).expect("no limit on clearing");
        if last.is_match() {
            self.note(cache, last, matched);
        }
    }

    fn next(&self, cache: &mut Cache, sid: LazyStateID, byte: u8) -> LazyStateID {
        self.dfa.next_state(cache, sid, byte).expect("no limit on clearing")
    }

    fn note(&self, cache: &Cache, sid: LazyStateID, matched: &mut Matched) {
        for i in 0..self.dfa.match_len(cache, sid) {
            matched.set(self.dfa.match_pattern(cache, sid, i));
        }
    }
}

impl LiteralStart {
    /// The literals that every match of every pattern begins with, if they are few and quick to look for.
    fn of(texts: &[String]) -> Option<Self> {
        let hirs = texts.iter().map(|t| syntax::parse_with(t, &super::syntax()).ok()).collect::<Option<Vec<_>>>()?;
        let finder = Prefilter::from_hirs_prefix(MatchKind::All, &hirs)?;
        (finder.is_fast() && finder.max_needle_len() > 0).then(|| Self { longest: finder.max_needle_len(), finder })
    }

    /// The next place from `at` where a match could begin. The end of a chunk may hide the begin of a literal, so its last
    /// bytes are never skipped.
    fn skip(&self, chunk: &[u8], at: usize) -> usize {
        let begin = self.finder.find(chunk, Span { start: at, end: chunk.len() }).map_or(chunk.len(), |s| s.start);
        begin.min(at.max(chunk.len().saturating_sub(self.longest - 1)))
    }
}
