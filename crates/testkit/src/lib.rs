//! For tests only: a site that can be told how to fail, certificates of every kind, and a runner for the built program.
//!
//! Nothing here is simulated. A [`Site`] speaks over real sockets, a [`Pki`] makes real certificates, a [`Program`] is a real process;
//! what they show a test is what the world would. What stands in a variable is stopped when the variable goes, also when the test fails.

mod fail;
mod net;
mod pki;
mod program;
mod running;
mod site;
mod wait;

pub use net::{Answer, free_port, get, has_ipv6};
pub use pki::{Authority, Identity, Pki, pki};
pub use program::{Output, Program};
pub use running::{Running, Signal};
pub use site::{Backlog, Refused, Request, Session, Setup, Site, Step, Tls, Version, step};
pub use wait::{eventually, until};
