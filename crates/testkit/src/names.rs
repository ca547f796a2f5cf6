//! A name server that answers as it is told, over UDP and TCP on one port of loopback. Like a site it runs on a thread of its own.

pub use hickory_proto::{op::ResponseCode, rr::RecordType};

use hickory_proto::{
    op::{Message, MessageType, OpCode},
    rr::{Name, RData, Record},
};
use std::{
    fmt,
    future::pending,
    io,
    net::{self, IpAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    runtime,
    sync::oneshot,
};

/// What it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub name: String,
    pub family: RecordType,
    pub tcp: bool,
    /// Counts the questions for this name and family over this transport, from 0.
    pub nth: usize,
}

/// What it says.
#[derive(Clone, Debug)]
pub enum Reply {
    Silence,
    Late(Duration, Box<Reply>),
    Code(ResponseCode),
    /// NOERROR with these records: an address, or the target of an alias, each with its owner.
    Records(Vec<(String, String)>),
    /// No records, and the bit that says that they did not fit.
    Truncated,
    /// Something that is no answer to the question, and then the answer.
    After(Strange, Box<Reply>),
    /// Over TCP: the connection ends without an answer.
    Hangup,
}

#[derive(Clone, Copy, Debug)]
pub enum Strange {
    Garbage,
    WrongId,
    WrongName,
    /// The question sent back.
    Echo,
}

type Script = dyn Fn(&Question) -> Reply + Send + Sync;

/// A running name server. Dropping it ends it.
#[derive(Debug)]
pub struct NameServer {
    pub port: u16,
    answering: Arc<Answering>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// On a free port of 127.0.0.1.
    pub fn new(script: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> Self {
        Self::on("127.0.0.1", 0, script)
    }

    pub fn on(address: &str, port: u16, script: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> Self {
        let (tcp, udp) = both(address, port);
        let port = udp.local_addr().expect("a bound socket has an address").port();
        let answering = Arc::new(Answering { script: Box::new(script), asked: Mutex::default() });
        let (stop, stopped) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
        let it = Arc::clone(&answering);
        let live = async move {
            let tcp = TcpListener::from_std(tcp).expect("it does not block");
            let udp = Arc::new(UdpSocket::from_std(udp).expect("it does not block"));
            tokio::select! {
                () = Arc::clone(&it).serve_udp(udp) => {}
                () = it.serve_tcp(tcp) => {}
                _ = stopped => {}
            }
        };
        let named = thread::Builder::new().name(format!("names {port}"));
        let thread = named.spawn(move || runtime.block_on(live)).expect("a thread can be started");
        Self { port, answering, stop: Some(stop), thread: Some(thread) }
    }

    pub fn asked(&self) -> Vec<Question> {
        self.answering.asked().clone()
    }

    /// The names asked for, each once.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.asked().into_iter().map(|q| q.name).collect();
        names.sort();
        names.dedup();
        names
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic in there has been printed
        }
    }
}

/// One port for both, whichever is free for both.
fn both(address: &str, port: u16) -> (net::TcpListener, net::UdpSocket) {
    for _ in 0..100 {
        let tcp = net::TcpListener::bind((address, port)).expect("a test names an address of this machine");
        let place = tcp.local_addr().expect("a bound socket has an address");
        if let Ok(udp) = net::UdpSocket::bind(place) {
            tcp.set_nonblocking(true).expect("a socket can be made not to block");
            udp.set_nonblocking(true).expect("a socket can be made not to block");
            return (tcp, udp);
        }
    }
    crate::fail::fail("no port is free for UDP and TCP")
}

struct Answering {
    script: Box<Script>,
    asked: Mutex<Vec<Question>>,
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").finish_non_exhaustive()
    }
}

impl Answering {
    /// A test's own panic must not hide behind a poisoned lock.
    fn asked(&self) -> MutexGuard<'_, Vec<Question>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve_udp(self: Arc<Self>, socket: Arc<UdpSocket>) {
        loop {
            let mut buffer = vec![0; 4096];
            let Ok((n, from)) = socket.recv_from(&mut buffer).await else { continue };
            let (it, socket) = (Arc::clone(&self), Arc::clone(&socket));
            tokio::spawn(async move {
                for message in it.messages(&buffer[..n], false).await {
                    let _ = socket.send_to(&message, from).await; // the peer may have gone
                }
            });
        }
    }

    async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            tokio::spawn(Arc::clone(&self).serve_one(stream));
        }
    }

    async fn serve_one(self: Arc<Self>, mut stream: TcpStream) -> io::Result<()> {
        let mut buffer = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut buffer).await?;
        for message in self.messages(&buffer, true).await {
            stream.write_u16(u16::try_from(message.len()).map_err(io::Error::other)?).await?;
            stream.write_all(&message).await?;
        }
        Ok(())
    }

    async fn messages(&self, bytes: &[u8], tcp: bool) -> Vec<Vec<u8>> {
        let question = Message::from_vec(bytes).expect("a question");
        let query = &question.queries[0];
        let name = query.name().to_ascii().trim_end_matches('.').to_owned();
        let mut asked = Question { name, family: query.query_type(), tcp, nth: 0 };
        let mut reply = {
            let mut all = self.asked();
            asked.nth = all.iter().filter(|q| (&q.name, q.family, q.tcp) == (&asked.name, asked.family, tcp)).count();
            all.push(asked.clone());
            (self.script)(&asked)
        };
        let mut messages = Vec::new();
        loop {
            let mut answer = Message::response(question.metadata.id, OpCode::Query);
            answer.add_query(query.clone());
            match reply {
                Reply::Silence => pending().await,
                Reply::Hangup => return Vec::new(),
                Reply::Late(by, then) => {
                    tokio::time::sleep(by).await;
                    reply = *then;
                    continue;
                }
                Reply::After(strange, then) => {
                    messages.push(odd(strange, bytes, &answer));
                    reply = *then;
                    continue;
                }
                Reply::Code(code) => answer.metadata.response_code = code,
                Reply::Truncated => answer.metadata.truncation = true,
                Reply::Records(records) => {
                    answer.add_answers(records.iter().filter_map(|(owner, to)| record(owner, to, asked.family)));
                }
            }
            messages.push(answer.to_vec().expect("a message can be written"));
            return messages;
        }
    }
}

fn odd(strange: Strange, question: &[u8], answer: &Message) -> Vec<u8> {
    let mut answer = answer.clone();
    answer.metadata.message_type = MessageType::Response;
    match strange {
        Strange::Garbage => return b"\xff\0garbage".to_vec(),
        Strange::Echo => return question.to_vec(),
        Strange::WrongId => answer.metadata.id = answer.metadata.id.wrapping_add(1),
        Strange::WrongName => {
            answer.queries[0].set_name(Name::from_ascii("other.test.").expect("a name"));
        }
    }
    let owner = answer.queries[0].name().to_ascii();
    let family = answer.queries[0].query_type();
    answer.add_answers(["127.6.6.6", "::666"].iter().filter_map(|to| record(&owner, to, family)));
    answer.to_vec().expect("a message can be written")
}

/// `None` for an address of the other family.
fn record(owner: &str, to: &str, family: RecordType) -> Option<Record> {
    let name =
        |text: &str| Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).expect("a test writes names right");
    let data = match (to.parse(), family) {
        (Ok(IpAddr::V4(ip)), RecordType::A) => RData::A(ip.into()),
        (Ok(IpAddr::V6(ip)), RecordType::AAAA) => RData::AAAA(ip.into()),
        (Ok(_), _) => return None,
        (Err(_), _) => RData::CNAME(hickory_proto::rr::rdata::CNAME(name(to))),
    };
    Some(Record::from_rdata(name(owner), 60, data))
}
