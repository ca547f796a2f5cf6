//! `lapwing probe` -> Kafka -> `lapwing write`: both halves of the pipeline as programs of their own, on real services.
#![cfg(feature = "kafka")]

mod apart;
mod backup;
mod changes;
mod credentials;
mod letters;
mod passing;
mod poison;
mod rights;
mod stage;
mod torture;
mod upgrade;
mod upkeep;
mod waiting;
