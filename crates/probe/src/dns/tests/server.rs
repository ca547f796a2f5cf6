//! A resolver that answers as it is told, over UDP and TCP on one port of loopback.

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use std::{
    future::pending,
    io,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
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

#[derive(Debug)]
pub struct Server {
    pub port: u16,
    asked: Arc<Mutex<Vec<Question>>>,
    tasks: [JoinHandle<()>; 2],
}

impl Server {
    pub async fn new(script: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> Self {
        Self::on("127.0.0.1", 0, script).await
    }

    pub async fn on(address: &str, port: u16, script: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> Self {
        let (tcp, udp) = both(address, port).await;
        let port = udp.local_addr().unwrap().port();
        let asked = Arc::default();
        let it = Arc::new(Answering { script: Box::new(script), asked: Arc::clone(&asked) });
        let over_udp = tokio::spawn(Arc::clone(&it).serve_udp(Arc::new(udp)));
        let over_tcp = tokio::spawn(it.serve_tcp(tcp));
        Self { port, asked, tasks: [over_udp, over_tcp] }
    }

    pub fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap().clone()
    }

    /// The names asked for, each once.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.asked().into_iter().map(|q| q.name).collect();
        names.sort();
        names.dedup();
        names
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// One port for both, whichever is free for both.
async fn both(address: &str, port: u16) -> (TcpListener, UdpSocket) {
    for _ in 0..100 {
        let tcp = TcpListener::bind((address, port)).await.unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            return (tcp, udp);
        }
    }
    panic!("no port is free for UDP and TCP");
}

struct Answering {
    script: Box<Script>,
    asked: Arc<Mutex<Vec<Question>>>,
}

impl Answering {
    async fn serve_udp(self: Arc<Self>, socket: Arc<UdpSocket>) {
        loop {
            let mut buffer = vec![0; 4096];
            let Ok((n, from)) = socket.recv_from(&mut buffer).await else { continue };
            let (it, socket) = (Arc::clone(&self), Arc::clone(&socket));
            tokio::spawn(async move {
                for message in it.messages(&buffer[..n], false).await {
                    socket.send_to(&message, from).await.unwrap();
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
            stream.write_u16(u16::try_from(message.len()).unwrap()).await?;
            stream.write_all(&message).await?;
        }
        Ok(())
    }

    async fn messages(&self, bytes: &[u8], tcp: bool) -> Vec<Vec<u8>> {
        let question = Message::from_vec(bytes).unwrap();
        let query = &question.queries[0];
        let name = query.name().to_ascii().trim_end_matches('.').to_owned();
        let mut asked = Question { name, family: query.query_type(), tcp, nth: 0 };
        let mut reply = {
            let mut all = self.asked.lock().unwrap();
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
            messages.push(answer.to_vec().unwrap());
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
            answer.queries[0].set_name(Name::from_ascii("other.test.").unwrap());
        }
    }
    let owner = answer.queries[0].name().to_ascii();
    let family = answer.queries[0].query_type();
    answer.add_answers(["127.6.6.6", "::666"].iter().filter_map(|to| record(&owner, to, family)));
    answer.to_vec().unwrap()
}

/// `None` for an address of the other family.
fn record(owner: &str, to: &str, family: RecordType) -> Option<Record> {
    let name = |text: &str| Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).unwrap();
    let data = match (to.parse(), family) {
        (Ok(IpAddr::V4(ip)), RecordType::A) => RData::A(ip.into()),
        (Ok(IpAddr::V6(ip)), RecordType::AAAA) => RData::AAAA(ip.into()),
        (Ok(_), _) => return None,
        (Err(_), _) => RData::CNAME(hickory_proto::rr::rdata::CNAME(name(to))),
    };
    Some(Record::from_rdata(name(owner), 60, data))
}
