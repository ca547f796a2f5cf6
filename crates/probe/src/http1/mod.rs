//! HTTP/1.1 as a client that asks once sees it (RFC 9112). Plain functions over bytes: reading and timing are the attempt's.

mod body;
mod head;

pub use body::Body;
pub use head::{HeadReader, MAX_HEAD};
