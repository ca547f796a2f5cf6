//! Conditions that are waited for.

use std::cell::Cell;
use std::time::{Duration, Instant};
use testkit::{eventually, until};

const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_condition_is_asked_until_it_holds() {
    let asked = Cell::new(0);
    let third_time = || {
        asked.set(asked.get() + 1);
        asked.get() % 3 == 0
    };
    eventually("the third time", LIMIT, async || third_time()).await;
    assert_eq!(asked.get(), 3);
    until("the sixth time", LIMIT, third_time);
    assert_eq!(asked.get(), 6);
}

#[test]
fn what_does_not_come_is_named_after_the_limit() {
    let started = Instant::now();
    let panic = std::panic::catch_unwind(|| until("the sun rises", Duration::from_millis(30), || false)).unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("the sun rises"));
    assert!(started.elapsed() < LIMIT);
}
