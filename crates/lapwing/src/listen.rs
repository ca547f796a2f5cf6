//! Where machines ask for health and metrics; bound before the first check, so that a port that is taken is known at once.

use crate::exit::Exit;
use config::Listen;
use std::io;
use tokio::net::TcpListener;

/// Binds the address; `key` is the configuration's name for it. Without a host it is every address of the machine.
pub async fn bind(listen: &Listen, key: &str) -> Result<TcpListener, Exit> {
    let addresses: Vec<(String, u16)> = match listen.host.as_deref() {
        Some(host) => vec![(host.to_owned(), listen.port)],
        None => ["::", "0.0.0.0"].map(|h| (h.to_owned(), listen.port)).into(),
    };
    let mut last = None;
    for address in addresses {
        match TcpListener::bind(&address).await {
            Ok(listener) => return Ok(listener),
            Err(e) => last = Some(e),
        }
    }
    let why = last.map_or_else(String::new, |e| match e.kind() {
        io::ErrorKind::AddrInUse => {
            format!("another program, or another Lapwing, listens there; choose another address with --listen or {key}")
        }
        _ => e.to_string(),
    });
    Err(Exit::failure(format!("lapwing: can't listen on {listen}: {why}")))
}
