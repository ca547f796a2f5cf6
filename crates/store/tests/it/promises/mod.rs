//! What every store promises.

use crate::stage::Stage;

mod dead_letters;
mod exactly_once;
mod gaps;
mod letters;
mod target_texts;
mod view;

/// An empty store of the kind that the promises are held against.
async fn stage() -> Stage {
    Stage::new(super::KIND).await
}
