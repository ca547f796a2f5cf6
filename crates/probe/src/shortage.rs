//! Which errors of the operating system are our own: never the target's.

use std::io;

/// What this machine is short of, if that is what the error says.
pub fn of(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        libc::EMFILE => Some("no file descriptor left: raise the limit (ulimit -n) or lower probe.concurrency"),
        libc::ENFILE => Some("no file descriptor left on this machine"),
        libc::ENOMEM => Some("out of memory"),
        libc::ENOBUFS => Some("no buffer space left for sockets"),
        // The second one is what a socket is told that asks for any port. (We ask for no other.)
        libc::EADDRNOTAVAIL | libc::EADDRINUSE => Some("no local port left"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_lacks_is_ours_and_what_a_site_does_is_not() {
        let of = |code| of(&io::Error::from_raw_os_error(code));
        for (code, lacks) in [
            (libc::EMFILE, "descriptor"),
            (libc::ENFILE, "descriptor"),
            (libc::ENOMEM, "memory"),
            (libc::ENOBUFS, "buffer"),
            (libc::EADDRNOTAVAIL, "local port"),
            (libc::EADDRINUSE, "local port"),
        ] {
            assert!(of(code).is_some_and(|what| what.contains(lacks)), "{code}");
        }
        for code in [libc::ECONNREFUSED, libc::ECONNRESET, libc::EHOSTUNREACH, libc::ENETUNREACH, libc::ETIMEDOUT] {
            assert_eq!(of(code), None);
        }
    }
}
