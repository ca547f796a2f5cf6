//! One question to resolvers, over UDP and, when the answer does not fit, TCP (RFC 1035, RFC 7766).

use hickory_proto::{
    op::{Message, MessageType, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// How long each round over the resolvers waits for an answer: a lost packet is repeated before a person would notice.
const ROUNDS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// Names that a chain of aliases may lead through.
const MAX_ALIASES: usize = 8;

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

/// The addresses of one family. Aliases are followed, within the answer and by asking on.
pub async fn ask(servers: &[SocketAddr], name: &str, family: RecordType) -> Result<Asked, Unanswered> {
    let mut name = Name::from_ascii(name).map_err(|_| Unanswered::NotAName)?;
    name.set_fqdn(true);
    for _ in 0..=MAX_ALIASES {
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

/// The first resolver that knows; one that can't tell (SERVFAIL, REFUSED, …) leaves it to the next.
async fn ask_any(servers: &[SocketAddr], name: &Name, family: RecordType) -> Result<Message, Unanswered> {
    let (mut refusal, mut trouble) = (None, Unanswered::NoServer);
    for wait in ROUNDS {
        for &server in servers {
            match timeout(wait, ask_one(server, name, family)).await {
                Err(_) => trouble = Unanswered::Silent,
                Ok(Err(e)) if !matches!(trouble, Unanswered::Silent) => trouble = Unanswered::Error(e),
                Ok(Err(_)) => {}
                Ok(Ok(m)) if matches!(m.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain) => {
                    return Ok(m);
                }
                Ok(Ok(m)) => refusal = Some(m),
            }
        }
        if let Some(refusal) = refusal.take() {
            return Ok(refusal);
        }
    }
    Err(trouble)
}

async fn ask_one(server: SocketAddr, name: &Name, family: RecordType) -> io::Result<Message> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), family));
    let bytes = question.to_vec().map_err(io::Error::other)?;
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A connected socket on a port that the kernel chose: answers from elsewhere don't arrive (RFC 5452).
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&bytes).await?;
    let mut buffer = [0; 4096];
    loop {
        let n = socket.recv(&mut buffer).await?;
        match Message::from_vec(&buffer[..n]) {
            Ok(m) if answers(&m, &question) && m.metadata.truncation => {
                return ask_by_tcp(server, &bytes, &question).await;
            }
            Ok(m) if answers(&m, &question) => return Ok(m),
            Ok(_) | Err(_) => {} // not an answer to this question: somebody guesses
        }
    }
}

async fn ask_by_tcp(server: SocketAddr, bytes: &[u8], question: &Message) -> io::Result<Message> {
    let mut tcp = TcpStream::connect(server).await?;
    let size = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    tcp.write_all(&[&size.to_be_bytes()[..], bytes].concat()).await?;
    let mut buffer = vec![0; tcp.read_u16().await?.into()];
    tcp.read_exact(&mut buffer).await?;
    let message = Message::from_vec(&buffer).map_err(io::Error::other)?;
    if answers(&message, question) { Ok(message) } else { Err(io::Error::other("an answer to another question")) }
}

fn answers(message: &Message, question: &Message) -> bool {
    message.metadata.message_type == MessageType::Response
        && message.metadata.id == question.metadata.id
        && message.queries == question.queries
}
