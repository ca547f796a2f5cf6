//! The one place where the kit makes a test fail.

/// Ends the test with a text. The caller's line is the one that is shown.
#[track_caller]
#[allow(clippy::panic, reason = "a panic is how a test fails")]
pub(crate) fn fail(text: &str) -> ! {
    panic!("{text}")
}
