//! Kafka on a real broker: what is on the wire, and what becomes of it when brokers, members and topics come and go.

mod changes;
mod group;
mod outages;
mod records;
mod relay;
mod rights;
mod starting;

pub mod stage;
