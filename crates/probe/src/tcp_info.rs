//! What the kernel measured on a connection: its clock does not stand in line behind busy tasks.

use std::time::Duration;
use tokio::net::TcpStream;

/// Smoothed round trip, and all retransmissions, SYN included (Linux, `TCP_INFO`; see tcp(7)).
#[derive(Clone, Copy, Debug)]
pub struct TcpInfo {
    pub rtt: Duration,
    pub retransmits: u32,
}

/// `None` where the system has no such thing, or the connection never came to be.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no maintained crate among ours wraps TCP_INFO")]
pub fn of(stream: &TcpStream) -> Option<TcpInfo> {
    use std::os::fd::AsRawFd;
    // SAFETY: `tcp_info` is plain old data, for which all zeroes is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut size = libc::socklen_t::try_from(size_of_val(&info)).ok()?;
    // SAFETY: the descriptor is open while `stream` is borrowed; the kernel writes at most `size` bytes to `info`, and says
    // how many.
    let done = unsafe {
        libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut size)
    };
    let there = std::mem::offset_of!(libc::tcp_info, tcpi_total_retrans) + size_of::<u32>();
    (done == 0 && size as usize >= there)
        .then(|| TcpInfo { rtt: Duration::from_micros(info.tcpi_rtt.into()), retransmits: info.tcpi_total_retrans })
}

#[cfg(not(target_os = "linux"))]
pub fn of(_: &TcpStream) -> Option<TcpInfo> {
    None
}
