//! One question to resolvers, over UDP and, when the answer does not fit, TCP (RFC 1035, RFC 7766).

use crate::{arrival::Arrivals, shortage};
use hickory_proto::{
    op::{Message, MessageType, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadBuf},
    net::{TcpStream, UdpSocket},
    time::Sleep,
};

/// How long each round over the resolvers waits for an answer before the question is repeated: a packet is lost sooner than a person
/// notices. Only who asks gives up on a resolver that is silent.
const ROUNDS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];
/// So often a resolver is asked that can't be.
const TRIES: usize = 3;
/// Names that a chain of aliases may lead through: in one answer, and how often somebody is asked on for it.
const MAX_ALIASES: usize = 32;
const MAX_ASKED_ON: usize = 8;

/// Who is asked.
#[derive(Clone, Copy, Debug)]
pub struct Servers<'a> {
    pub at: &'a [SocketAddr],
    pub arrivals: &'a Arrivals,
}

/// An answer: addresses, or a code that says why there are none.
#[derive(Debug)]
pub struct Asked {
    pub code: ResponseCode,
    pub addresses: Vec<IpAddr>,
}

/// No answer came that says whether there are addresses.
#[derive(Debug)]
pub enum Unanswered {
    NoServer,
    NotAName,
    /// Aliases that lead back to where they began, or on and on.
    Circle,
    Silent,
    Error(io::Error),
}

impl Unanswered {
    /// Of two troubles the one that says most: that we could not ask, that nobody answered, an error.
    pub fn or(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    /// Whether it is ours, so that nobody knows what would have been answered.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Error(e) if shortage::of(e).is_some())
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Error(_) if self.is_ours() => 3,
            Self::Silent => 2,
            Self::Error(_) | Self::NotAName | Self::Circle => 1,
            Self::NoServer => 0,
        }
    }
}

/// The addresses of one family. Aliases are followed, within the answer and by asking on.
pub async fn ask(servers: Servers<'_>, name: &str, family: RecordType) -> Result<Asked, Unanswered> {
    let mut name = Name::from_ascii(name).map_err(|_| Unanswered::NotAName)?;
    name.set_fqdn(true);
    for _ in 0..=MAX_ASKED_ON {
        let message = ask_any(servers, &name, family).await?;
        let code = message.metadata.response_code;
        let Some((last, addresses)) = follow(&message, &name) else { break };
        if !addresses.is_empty() || code != ResponseCode::NoError || last == name {
            return Ok(Asked { code, addresses });
        }
        name = last;
    }
    Err(Unanswered::Circle)
}

/// The end of the chain of aliases that the answer holds, and the addresses there; `None` when the chain has no end.
fn follow(message: &Message, name: &Name) -> Option<(Name, Vec<IpAddr>)> {
    let mut at = name.clone();
    for _ in 0..=MAX_ALIASES {
        let of_this = || message.answers.iter().filter(|r| r.name == at).map(|r| &r.data);
        let addresses: Vec<IpAddr> = of_this().filter_map(address).collect();
        let alias = of_this().find_map(|d| if let RData::CNAME(c) = d { Some(c.0.clone()) } else { None });
        match alias {
            Some(next) if addresses.is_empty() => at = next,
            _ => return Some((at, addresses)),
        }
    }
    None
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(a.0.into()),
        RData::AAAA(a) => Some(a.0.into()),
        _ => None,
    }
}

/// The first resolver that knows; one that can't tell (SERVFAIL, REFUSED, …) leaves it to the next. An answer counts whenever it comes,
/// also to a question that was repeated since.
async fn ask_any(servers: Servers<'_>, name: &Name, family: RecordType) -> Result<Message, Unanswered> {
    let mut open: Vec<Open> = Vec::new();
    let (mut refusal, mut trouble) = (None, Unanswered::NoServer);
    for round in 0.. {
        let wait = ROUNDS[round.min(ROUNDS.len() - 1)];
        for &server in servers.at {
            match open.iter().find(|o| o.question.server == server) {
                Some(silent) => silent.question.send_again(),
                None => match Question::send(server, name, family, servers.arrivals) {
                    Ok(question) => open.push(Open::of(question, servers.arrivals)),
                    Err(e) => {
                        trouble = trouble.or(Unanswered::Error(e));
                        continue;
                    }
                },
            }
            let mut pause = pin!(tokio::time::sleep(wait));
            loop {
                let Some((from, answer)) = next(&mut open, pause.as_mut()).await else {
                    trouble = trouble.or(Unanswered::Silent);
                    break;
                };
                match answer {
                    Err(e) => trouble = trouble.or(Unanswered::Error(e)),
                    Ok(m) if matches!(m.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain) => {
                        return Ok(m);
                    }
                    Ok(m) => refusal = Some(m),
                }
                if from == server {
                    break;
                }
            }
        }
        if let Some(refusal) = refusal.take().filter(|_| !trouble.is_ours()) {
            return Ok(refusal);
        }
        if open.is_empty() && round + 1 >= TRIES {
            break;
        }
    }
    Err(trouble)
}

/// A question that has no answer yet.
struct Open {
    question: Arc<Question>,
    answer: Pin<Box<dyn Future<Output = io::Result<Message>> + Send>>,
}

impl Open {
    fn of(question: Question, arrivals: &Arrivals) -> Self {
        let question = Arc::new(question);
        Self { answer: Box::pin(answer(Arc::clone(&question), arrivals.clone())), question }
    }
}

/// The next answer to one of them, which then is not open any more; `None` when the pause is over first.
async fn next(open: &mut Vec<Open>, mut pause: Pin<&mut Sleep>) -> Option<(SocketAddr, io::Result<Message>)> {
    poll_fn(|cx| {
        for i in 0..open.len() {
            if let Poll::Ready(answer) = open[i].answer.as_mut().poll(cx) {
                return Poll::Ready(Some((open.swap_remove(i).question.server, answer)));
            }
        }
        pause.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// What was asked of a resolver over UDP.
struct Question {
    server: SocketAddr,
    message: Message,
    bytes: Vec<u8>,
    socket: UdpSocket,
}

impl Question {
    fn send(server: SocketAddr, name: &Name, family: RecordType, arrivals: &Arrivals) -> io::Result<Self> {
        arrivals.forget();
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name.clone(), family));
        let bytes = message.to_vec().map_err(io::Error::other)?;
        let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        // A connected socket on a port that the kernel chose: answers from elsewhere don't arrive (RFC 5452).
        let socket = std::net::UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(server).map_err(no_source)?;
        arrivals.stamp(&socket);
        // Sent before the runtime knows the socket, which it would first wait for to be writable: that would be a part of the phase.
        socket.send(&bytes)?;
        Ok(Self { server, message, bytes, socket: UdpSocket::from_std(socket)? })
    }

    /// The same once more: an answer to either is one. What stands in the way shows when it is read.
    fn send_again(&self) {
        let _ = self.socket.try_send(&self.bytes);
    }
}

async fn answer(question: Arc<Question>, arrivals: Arrivals) -> io::Result<Message> {
    let Question { server, message, bytes, socket } = &*question;
    let mut room = [const { MaybeUninit::uninit() }; 4096];
    loop {
        let mut buffer = ReadBuf::uninit(&mut room);
        arrivals.receive(socket, &mut buffer).await?;
        match Message::from_vec(buffer.filled()) {
            Ok(m) if answers(&m, message) && m.metadata.truncation => {
                return ask_by_tcp(*server, bytes, message, &arrivals).await;
            }
            Ok(m) if answers(&m, message) => return Ok(m),
            Ok(_) | Err(_) => arrivals.forget(), // not an answer to this question: somebody guesses
        }
    }
}

/// A socket that has its port already lacks no port, but an address of ours in the family of the server.
fn no_source(e: io::Error) -> io::Error {
    match e.raw_os_error() {
        Some(libc::EADDRNOTAVAIL) => io::Error::from_raw_os_error(libc::ENETUNREACH),
        _ => e,
    }
}

async fn ask_by_tcp(server: SocketAddr, bytes: &[u8], question: &Message, arrivals: &Arrivals) -> io::Result<Message> {
    arrivals.forget();
    let mut tcp = TcpStream::connect(server).await?;
    let size = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    tcp.write_all(&[&size.to_be_bytes()[..], bytes].concat()).await?;
    let mut buffer = vec![0; tcp.read_u16().await?.into()];
    tcp.read_exact(&mut buffer).await?;
    let message = Message::from_vec(&buffer).map_err(io::Error::other)?;
    if answers(&message, question) { Ok(message) } else { Err(io::Error::other("an answer to another question")) }
}

/// Some that refuse, or can't read the question, leave it out.
fn answers(message: &Message, question: &Message) -> bool {
    let is_refusal = message.queries.is_empty() && message.metadata.response_code != ResponseCode::NoError;
    message.metadata.message_type == MessageType::Response
        && message.metadata.id == question.metadata.id
        && (message.queries == question.queries || is_refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_question_unless_it_refuses() {
        let mut question = Message::query();
        question.add_query(Query::query(Name::root(), RecordType::A));
        let answer = |code, with_question: bool| {
            let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
            answer.metadata.response_code = code;
            if with_question {
                answer.add_query(question.queries[0].clone());
            }
            answers(&answer, &question)
        };
        assert!(answer(ResponseCode::NoError, true) && answer(ResponseCode::Refused, true));
        assert!(answer(ResponseCode::Refused, false) && answer(ResponseCode::FormErr, false));
        assert!(!answer(ResponseCode::NoError, false));
    }

    #[test]
    fn of_two_troubles_our_own_says_that_nobody_knows_and_silence_says_more_than_an_error() {
        let error = |code| Unanswered::Error(io::Error::from_raw_os_error(code));
        let ours = || error(libc::EMFILE);
        for other in [Unanswered::Silent, error(libc::ECONNREFUSED), Unanswered::NoServer] {
            let text = format!("{other:?}");
            assert!(other.or(ours()).is_ours(), "{text}");
        }
        assert!(!Unanswered::Error(no_source(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL))).is_ours());
        assert!(ours().or(Unanswered::Silent).is_ours());
        assert!(matches!(error(libc::ECONNREFUSED).or(Unanswered::Silent), Unanswered::Silent));
        assert!(matches!(Unanswered::Silent.or(error(libc::ECONNREFUSED)), Unanswered::Silent));
        assert!(matches!(Unanswered::NoServer.or(error(libc::ECONNREFUSED)), Unanswered::Error(_)));
    }
}
