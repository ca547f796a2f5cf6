//! When what is read had come. The kernel stamps what it receives (`SO_TIMESTAMPNS`, socket(7)), so the time for which it lay there
//! because we were busy, waited for a core or stood still is ours, and in no phase. What lay there together has one stamp, of the
//! last of it.

use crate::tcp_info;
use std::{
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    io::{Interest, ReadBuf},
    net::{TcpStream, UdpSocket},
};

/// By how much the two clocks may part before the clock of the day was set.
const SET: Duration = Duration::from_millis(1);

/// What the sockets of one attempt tell its clock.
#[derive(Clone, Debug)]
pub struct Arrivals(Arc<Mutex<Last>>);

#[derive(Debug)]
struct Last {
    /// How long what was read last had lain there before.
    lain: Duration,
    /// Nothing that counts came before.
    from: Instant,
    /// The same moment on both clocks: stamps are of the clock of the day, phases of the one that nobody sets.
    at: (Instant, SystemTime),
}

impl Arrivals {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Last::at(Instant::now(), SystemTime::now()))))
    }

    /// Asks the kernel for stamps. Where it has none, what is read has come when it is read.
    pub fn stamp(&self, socket: &impl AsFd) {
        if let Err(error) = ask_for_stamps(socket) {
            tracing::debug!(%error, "the kernel does not say when something has come");
        }
    }

    /// How long what was read last had lain there.
    pub fn lain(&self) -> Duration {
        self.last().lain
    }

    /// What came until now does not count.
    pub fn forget(&self) {
        let mut last = self.last();
        (last.lain, last.from) = (Duration::ZERO, Instant::now());
    }

    /// What came last came to another one's sockets.
    pub fn adopt(&self, other: &Self) {
        let lain = other.lain();
        self.last().lain = lain;
    }

    /// As [`TcpStream::try_read`].
    pub fn try_read(&self, tcp: &TcpStream, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        let fd = tcp.as_raw_fd();
        self.read(tcp.try_io(Interest::READABLE, || receive(fd, buffer)))
    }

    /// As [`UdpSocket::recv`].
    pub async fn receive(&self, udp: &UdpSocket, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        let fd = udp.as_raw_fd();
        self.read(udp.async_io(Interest::READABLE | Interest::ERROR, || receive(fd, buffer)).await)
    }

    /// A connection that was begun at this moment is there: the kernel knows how long the first round trip took.
    pub fn connected(&self, begun: Instant, tcp: &TcpStream) {
        let info = tcp_info::of(tcp).filter(|info| info.retransmits == 0 && !info.rtt.is_zero());
        self.last().lain = info.map_or(Duration::ZERO, |info| begun.elapsed().saturating_sub(info.rtt));
    }

    fn read(&self, read: io::Result<Option<SystemTime>>) -> io::Result<()> {
        if !matches!(&read, Err(e) if e.kind() == io::ErrorKind::WouldBlock) {
            self.last().came(read.as_ref().ok().copied().flatten(), Instant::now(), SystemTime::now());
        }
        read.map(drop)
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Last {
    fn at(now: Instant, today: SystemTime) -> Self {
        Self { lain: Duration::ZERO, from: now, at: (now, today) }
    }

    /// `None`: nobody knows when. An end has no stamp, for example.
    fn came(&mut self, stamp: Option<SystemTime>, now: Instant, today: SystemTime) {
        let passed = now.duration_since(self.at.0);
        let by_day = today.duration_since(self.at.1).ok();
        let was_set = by_day.is_none_or(|by_day| by_day.abs_diff(passed) > SET);
        self.at = (now, today);
        let lain = stamp.filter(|_| !was_set).and_then(|stamp| today.duration_since(stamp).ok());
        self.lain = lain.filter(|lain| *lain <= now.duration_since(self.from)).unwrap_or_default();
    }
}

/// Holds stamping switched on while nothing is being checked: the kernel pays for switching, and the first packets go without.
#[derive(Debug)]
pub struct Stamping(#[expect(dead_code, reason = "held, not used")] Option<std::net::UdpSocket>);

impl Stamping {
    pub fn hold() -> Self {
        let held = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0));
        Self(held.and_then(|socket| ask_for_stamps(&socket).map(|()| socket)).ok())
    }
}

/// Reads what is there behind what the buffer holds, and when the last of it came, if the kernel says.
#[cfg(target_os = "linux")]
fn receive(fd: RawFd, buffer: &mut ReadBuf<'_>) -> io::Result<Option<SystemTime>> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

    let mut pieces = [io::IoSliceMut::new(buffer.initialize_unfilled())];
    let mut control = Control([0; 64]);
    let message = recvmsg::<()>(fd, &mut pieces, Some(&mut control.0), MsgFlags::empty())?;
    let stamp = message.cmsgs()?.find_map(|c| match c {
        ControlMessageOwned::ScmTimestampns(time) => SystemTime::UNIX_EPOCH.checked_add(time.into()),
        _ => None,
    });
    let n = message.bytes;
    buffer.advance(n);
    Ok(stamp.filter(|_| n > 0))
}

/// Room for a stamp, which is 16 bytes with as much of a header, aligned as the header is.
#[cfg(target_os = "linux")]
#[repr(align(8))]
struct Control([u8; 64]);

#[cfg(target_os = "linux")]
fn ask_for_stamps(socket: &impl AsFd) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt::ReceiveTimestampns};

    Ok(setsockopt(socket, ReceiveTimestampns, &true)?)
}

#[cfg(not(target_os = "linux"))]
fn receive(fd: RawFd, buffer: &mut ReadBuf<'_>) -> io::Result<Option<SystemTime>> {
    use nix::sys::socket::{MsgFlags, recv};

    let n = recv(fd, buffer.initialize_unfilled(), MsgFlags::empty())?;
    buffer.advance(n);
    Ok(None)
}

#[cfg(not(target_os = "linux"))]
fn ask_for_stamps(_: &impl AsFd) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    /// Read a second after the last time by one clock and `by_day` by the other, stamped `before` by the latter.
    fn lain(by_day: Duration, before: Duration) -> Duration {
        let (now, today) = (Instant::now(), SystemTime::now());
        let mut last = Last::at(now, today);
        last.came(Some(today + by_day - before), now + S, today + by_day);
        last.lain
    }

    #[test]
    fn what_had_lain_there_is_told_unless_the_clock_of_the_day_was_set() {
        assert_eq!(lain(S, S / 4), S / 4);
        assert_eq!(lain(S + SET / 2, S / 4), S / 4);
        assert_eq!(lain(3600 * S, 3600 * S), Duration::ZERO);
        assert_eq!(lain(S / 2, S / 4), Duration::ZERO);
    }

    #[test]
    fn a_stamp_from_before_it_could_come_is_none() {
        assert_eq!(lain(S, S), S);
        assert_eq!(lain(S, 2 * S), Duration::ZERO);
        assert_eq!(lain(S, 50 * 365 * 86_400 * S), Duration::ZERO);
    }

    #[tokio::test]
    async fn the_kernel_says_how_long_something_has_lain_there() {
        let arrivals = Arrivals::new();
        let _on = Stamping::hold();
        let (here, there) =
            (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
        arrivals.stamp(&here);
        // The kernel switches it on when it comes to it.
        for _ in 0..100 {
            there.send_to(b"hello", here.local_addr().unwrap()).await.unwrap();
            std::thread::sleep(S / 10);
            let mut room = [0; 16];
            let mut buffer = ReadBuf::new(&mut room);
            arrivals.receive(&here, &mut buffer).await.unwrap();
            assert_eq!(buffer.filled(), b"hello");
            if arrivals.lain() >= S / 10 {
                return;
            }
        }
        panic!("{:?}", arrivals.lain());
    }
}
