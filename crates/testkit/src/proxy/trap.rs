//! Holds one message back, or cuts the connection at it: the first of its kind that comes to any proxy where the trap is set.

use super::Moment;
use std::sync::Arc;
use tokio::sync::watch;

/// Waits for a moment, once. What it holds when it is dropped is passed on.
#[derive(Debug)]
pub struct Trap(Arc<Set>);

/// A trap as a proxy sees it.
#[derive(Debug)]
pub(super) struct Set {
    moment: Moment,
    cuts: bool,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    /// At the proxy with this port.
    Sprung(u16),
    Passed,
    Cut,
}

impl Trap {
    /// Holds the message back until it is said what becomes of it.
    pub fn hold(moment: Moment) -> Self {
        Self::new(moment, false)
    }

    /// Cuts the connection at once: the message does not arrive.
    pub fn cut_at(moment: Moment) -> Self {
        Self::new(moment, true)
    }

    fn new(moment: Moment, cuts: bool) -> Self {
        Self(Arc::new(Set { moment, cuts, state: watch::Sender::new(State::Waiting) }))
    }

    pub(super) fn set(&self) -> Arc<Set> {
        Arc::clone(&self.0)
    }

    /// Waits until it has sprung, and returns the port of the proxy where it did.
    pub async fn sprung(&self) -> u16 {
        let mut seen = self.0.state.subscribe();
        loop {
            if let State::Sprung(port) = *seen.borrow_and_update() {
                return port;
            }
            seen.changed().await.expect("the trap is here, and with it the sender");
        }
    }

    pub fn has_sprung(&self) -> bool {
        !self.0.is_set()
    }

    /// The message arrives after all.
    pub fn pass(self) {
        self.0.state.send_replace(State::Passed);
    }

    /// The message does not arrive: both sides see the connection end.
    pub fn cut(self) {
        self.0.state.send_replace(State::Cut);
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        self.0.state.send_if_modified(|state| {
            let is_open = matches!(state, State::Waiting | State::Sprung(_));
            if is_open {
                *state = State::Passed;
            }
            is_open
        });
    }
}

impl Set {
    pub fn is_set(&self) -> bool {
        *self.state.borrow() == State::Waiting
    }

    /// Whether this moment is the one, and nobody was faster.
    pub fn springs(&self, moment: Moment, port: u16) -> bool {
        moment == self.moment
            && self.state.send_if_modified(|state| {
                let is_first = *state == State::Waiting;
                if is_first {
                    *state = State::Sprung(port);
                }
                is_first
            })
    }

    /// Waits until it is said what becomes of the message.
    pub async fn is_to_cut(&self) -> bool {
        if self.cuts {
            return true;
        }
        let mut seen = self.state.subscribe();
        let said = seen.wait_for(|state| matches!(state, State::Passed | State::Cut)).await;
        said.is_ok_and(|state| *state == State::Cut)
    }
}
