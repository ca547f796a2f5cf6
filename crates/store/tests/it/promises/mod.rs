//! What every store promises.

use crate::stage::Stage;

mod copies;
mod dead_letters;
mod exactly_once;
mod gaps;
mod letters;
mod target_texts;
mod upgrade;
mod upkeep;
mod view;

/// An empty store of the kind that the promises are held against.
async fn stage() -> Stage {
    Stage::new(super::KIND).await
}
