//! What somebody speaks at an address: TLS, or Kafka's protocol in plain text. A broker that hears the other one says nothing, it
//! closes the connection; so does a balancer that has no broker, and that one is to be waited for.

use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(1);
/// Types of TLS records: an alert, and a message of the handshake.
const ALERT: u8 = 0x15;
const HANDSHAKE: u8 = 0x16;
/// Comes back in the answer.
const CORRELATION: [u8; 4] = *b"lapw";

/// Whether whoever is greeted as TLS does answers in TLS, be it with a refusal. Blocks.
pub(super) fn speaks_tls(address: &str) -> bool {
    answer::<1>(address, &hello()).is_some_and(|[first]| matches!(first, ALERT | HANDSHAKE))
}

/// Whether a broker answers in plain text. Blocks.
pub(super) fn speaks_plain_text(address: &str) -> bool {
    // ApiVersions, version 0, of a client without a name; an answer begins with its length.
    let request = [&[0, 0, 0, 10, 0, 18, 0, 0][..], &CORRELATION, &[0xff, 0xff]].concat();
    answer::<8>(address, &request).is_some_and(|head| head.ends_with(&CORRELATION))
}

fn answer<const N: usize>(address: &str, greeting: &[u8]) -> Option<[u8; N]> {
    let addresses = address.to_socket_addrs().into_iter().flatten();
    addresses.filter_map(|a| TcpStream::connect_timeout(&a, PATIENCE).ok()).find_map(|mut connection| {
        let mut first = [0; N];
        connection.set_read_timeout(Some(PATIENCE)).ok()?;
        connection.write_all(greeting).ok()?;
        connection.read_exact(&mut first).ok()?;
        Some(first)
    })
}

/// A ClientHello of TLS 1.2 without extensions. (RFC 5246, section 7.4.1.2)
fn hello() -> Vec<u8> {
    const VERSION: [u8; 2] = [3, 3];
    // ECDHE-RSA and ECDHE-ECDSA with AES-128-GCM; no compression.
    const CHOICES: [u8; 8] = [0, 4, 0xc0, 0x2f, 0xc0, 0x2b, 1, 0];
    let random = [0x5a; 32];
    let body = [&VERSION[..], &random, &[0], &CHOICES].concat(); // no session
    let length = body.len() as u8; // 43
    let message = [&[1, 0, 0, length][..], &body].concat();
    [&[HANDSHAKE, 3, 1, 0, length + 4][..], &message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::TcpListener, thread};

    /// What is made of somebody who hears so many bytes, says this and closes.
    fn asked<T>(ask: impl FnOnce(&str) -> T, hears: usize, says: &'static [u8]) -> (T, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answering = thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut heard = vec![0; hears];
            connection.read_exact(&mut heard).unwrap();
            connection.write_all(says).unwrap();
            heard
        });
        (ask(&address), answering.join().unwrap())
    }

    #[test]
    fn an_answer_in_tls_is_one_be_it_a_refusal() {
        let is_tls = |says| {
            let (is_tls, heard) = asked(speaks_tls, hello().len(), says);
            assert_eq!((heard[0], usize::from(heard[4]) + 5), (HANDSHAKE, heard.len()));
            is_tls
        };
        assert!(is_tls(&[HANDSHAKE, 3, 3, 0, 40]) && is_tls(&[ALERT, 3, 3, 0, 2, 2, 40]));
        assert!(!is_tls(b"") && !is_tls(b"HTTP/1.1 400"));
    }

    #[test]
    fn a_broker_in_plain_text_answers_what_it_was_asked() {
        let is_broker = |says| asked(speaks_plain_text, 14, says).0;
        assert!(is_broker(b"\0\0\0\x0alapw\0\0\0\0\0\0"));
        assert!(!is_broker(b"") && !is_broker(&[ALERT, 3, 3, 0, 2, 2, 40, 0]));
    }

    #[test]
    fn nobody_speaks_nothing() {
        for address in ["127.0.0.1:1", "no address"] {
            assert!(!speaks_tls(address) && !speaks_plain_text(address));
        }
    }
}
