//! When a target is due. Slots need no state: they follow from the target, the location and the interval alone.

use crate::UnixMs;
use sha2::{Digest, Sha256};

/// The slots of one target at one location: `slot(k) = phase + k × interval`, whole milliseconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    phase_ms: i64,
    interval_ms: i64,
}

impl Slots {
    /// `phase = floor(interval_ms × h / 2^64)`, h = the first 8 bytes, big-endian, of
    /// SHA-256(`"lapwing-slot\0" + target + "\0" + location`). (The contract, section 1.)
    pub fn new(target: &str, location: &str, interval_ms: u32) -> Self {
        let interval_ms = interval_ms.max(1);
        let mut hash = Sha256::new();
        for part in ["lapwing-slot\0", target, "\0", location] {
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        let h = digest.iter().take(8).fold(0u64, |h, &b| h << 8 | u64::from(b));
        let phase = (u128::from(interval_ms) * u128::from(h)) >> 64;
        Self { phase_ms: phase as i64, interval_ms: i64::from(interval_ms) } // phase < interval ≤ u32::MAX
    }

    pub fn phase_ms(&self) -> i64 {
        self.phase_ms
    }

    /// The slot that `now` lies in: the latest that is not after it.
    pub fn current(&self, now: UnixMs) -> UnixMs {
        UnixMs(now.0 - (now.0 - self.phase_ms).rem_euclid(self.interval_ms))
    }

    /// The first slot after `t`.
    pub fn after(&self, t: UnixMs) -> UnixMs {
        UnixMs(self.current(t).0 + self.interval_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_contracts_vectors() {
        for (target, location, interval, phase) in [
            ("shop-cart", "home", 30_000, 20_732),
            ("example.org", "default", 60_000, 102),
            ("shop-cart", "default", 86_400_000, 71_161_062),
        ] {
            assert_eq!(Slots::new(target, location, interval).phase_ms(), phase, "{target}");
        }
    }

    #[test]
    fn slots_are_spread_evenly_over_the_interval() {
        let mut buckets = [0u32; 60];
        for n in 0..60_000 {
            let phase = Slots::new(&format!("target-{n}"), "home", 60_000).phase_ms();
            buckets[usize::try_from(phase / 1000).expect("below 60")] += 1;
        }
        let (min, max) = (buckets.iter().min().expect("60"), buckets.iter().max().expect("60"));
        assert!(*min > 850 && *max < 1150, "1000 expected in each second, got {min} to {max}");
    }

    #[test]
    fn locations_are_independent() {
        // Phases of the same targets at two places: the difference is spread as evenly as the phases themselves.
        let mut buckets = [0u32; 10];
        for n in 0..10_000 {
            let id = format!("t{n}");
            let d = Slots::new(&id, "home", 60_000).phase_ms() - Slots::new(&id, "office", 60_000).phase_ms();
            buckets[usize::try_from(d.rem_euclid(60_000) / 6000).expect("below 10")] += 1;
        }
        assert!(buckets.iter().all(|b| (880..1120).contains(b)), "{buckets:?}");
    }

    #[test]
    fn a_simulated_year_has_no_drift() {
        let slots = Slots::new("shop-cart", "home", 30_000);
        let start = slots.current(UnixMs(1_795_428_020_732));
        let mut at = start;
        let a_year = 365 * 86_400 * 1000 / 30_000;
        for _ in 0..a_year {
            at = slots.after(at);
        }
        assert_eq!(at.0 - start.0, a_year * 30_000);
        assert_eq!((at.0 - slots.phase_ms()).rem_euclid(30_000), 0);
    }

    proptest! {
        #[test]
        fn a_slot_is_never_after_now_and_the_next_one_always(
            target in "[a-z0-9][a-z0-9._-]{0,20}", interval in 1000u32..=86_400_000, now in 0i64..4_102_444_800_000
        ) {
            let slots = Slots::new(&target, "home", interval);
            let (now, step) = (UnixMs(now), i64::from(interval));
            let (current, next) = (slots.current(now), slots.after(now));
            prop_assert!(current <= now && now < next);
            prop_assert_eq!(next.0 - current.0, step);
            prop_assert_eq!(slots.current(current), current);
            prop_assert_eq!((current.0 - slots.phase_ms()).rem_euclid(step), 0);
            // Stable: whoever asks, and whenever, gets the same slots.
            prop_assert_eq!(Slots::new(&target, "home", interval), slots);
        }
    }
}
