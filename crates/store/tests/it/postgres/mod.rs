//! What is promised of the store on PostgreSQL alone.

mod broken;
mod days;
mod opening;
mod racing;
mod tls;
mod upkeep;
