//! How a trouble that lasts is said: once at once, then at most every ten seconds with how long it lasts, and once when it
//! is over. (The contract, section 7.) Every stage that waits for something outside uses it.

use std::time::{Duration, Instant};

/// Between two sentences about one trouble.
const PAUSE: Duration = Duration::from_secs(10);

/// One kind of trouble, as one stage meets it. It begins without any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lasting(Option<Since>);

#[derive(Clone, Copy, Debug)]
struct Since {
    begun: Instant,
    said: Instant,
}

/// What is to be said now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// It has just begun.
    Begins,
    /// It is still there, for so long.
    Lasts(Duration),
    /// It is over, after so long.
    Over(Duration),
}

impl Lasting {
    /// The trouble was met.
    pub fn met(&mut self, now: Instant) -> Option<Say> {
        let Some(since) = &mut self.0 else {
            self.0 = Some(Since { begun: now, said: now });
            return Some(Say::Begins);
        };
        if now.saturating_duration_since(since.said) < PAUSE {
            return None;
        }
        since.said = now;
        Some(Say::Lasts(now.saturating_duration_since(since.begun)))
    }

    /// It went well.
    pub fn gone(&mut self, now: Instant) -> Option<Say> {
        self.0.take().map(|since| Say::Over(now.saturating_duration_since(since.begun)))
    }

    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_said_at_once_then_every_ten_seconds_and_when_it_is_over() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut trouble = Lasting::default();
        assert_eq!(trouble.gone(at(0)), None);
        let said: Vec<_> = (0..25).filter_map(|s| trouble.met(at(s))).collect();
        assert_eq!(said, [Say::Begins, Say::Lasts(Duration::from_secs(10)), Say::Lasts(Duration::from_secs(20))]);
        assert_eq!(trouble.gone(at(26)), Some(Say::Over(Duration::from_secs(26))));
        assert_eq!(trouble.gone(at(27)), None);
        assert_eq!(trouble.met(at(28)), Some(Say::Begins));
    }
}
