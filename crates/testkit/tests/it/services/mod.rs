//! Real servers, asked by the plainest clients: sqlx for PostgreSQL, a few requests of Kafka's protocol by hand.

mod kafka;
mod postgres;
mod proxy;
mod runner;
mod wire;

use std::net::TcpStream;
use std::time::Duration;

/// Servers start beside other tests on two cores.
const LIMIT: Duration = Duration::from_secs(120);

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}
