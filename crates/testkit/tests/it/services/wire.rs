//! As much of Kafka's protocol as shows that a broker serves, in the versions without tagged fields.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One connection to a broker, over whatever carries bytes.
pub struct Client<S> {
    stream: S,
}

impl Client<TcpStream> {
    pub fn connect(broker: &str) -> Self {
        let stream = TcpStream::connect(broker).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { stream }
    }
}

impl<S: Read + Write> Client<S> {
    pub fn over(stream: S) -> Self {
        Self { stream }
    }

    /// ApiVersions 0: the first thing that a client asks. Its error code.
    pub fn versions(&mut self) -> io::Result<i16> {
        Ok(number(&self.ask(18, 0, &[])?, 0))
    }

    /// CreateTopics 2. Its error code.
    pub fn create_topic(&mut self, name: &str) -> i16 {
        let topic = [&text(name)[..], &1_i32.to_be_bytes(), &1_i16.to_be_bytes(), &[0; 8]].concat();
        let body = [&1_i32.to_be_bytes()[..], &topic, &30_000_i32.to_be_bytes(), &[0]].concat();
        let answer = self.ask(19, 2, &body).unwrap();
        // After the throttle time, the count and the name.
        number(&answer, 4 + 4 + 2 + name.len())
    }

    /// Metadata 1 of one topic: whether it is there and has a leader.
    pub fn has_topic(&mut self, name: &str) -> bool {
        let body = [&1_i32.to_be_bytes()[..], &text(name)].concat();
        let answer = self.ask(3, 1, &body).unwrap();
        // It ends with one topic of one partition when all is well: the error of the partition, its number, its leader, one
        // replica, one in sync.
        let at = answer.windows(name.len()).position(|w| w == name.as_bytes()).unwrap() - 4;
        let partition = at + 2 + 2 + name.len() + 1 + 4;
        number(&answer, at) == 0 && answer.len() > partition && number(&answer, partition) == 0
    }

    /// SaslHandshake 1 and SaslAuthenticate 0. The error code of the latter.
    pub fn log_in(&mut self, user: &str, password: &str) -> i16 {
        assert_eq!(number(&self.ask(17, 1, &text("PLAIN")).unwrap(), 0), 0);
        let token = format!("\0{user}\0{password}");
        let body = [&i32::try_from(token.len()).unwrap().to_be_bytes()[..], token.as_bytes()].concat();
        number(&self.ask(36, 0, &body).unwrap(), 0)
    }

    fn ask(&mut self, api: i16, version: i16, body: &[u8]) -> io::Result<Vec<u8>> {
        let head = [&api.to_be_bytes()[..], &version.to_be_bytes(), &7_i32.to_be_bytes(), &text("wire")].concat();
        let size = i32::try_from(head.len() + body.len()).unwrap();
        self.stream.write_all(&[&size.to_be_bytes()[..], &head, body].concat())?;
        self.stream.flush()?;
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let mut answer = vec![0; usize::try_from(i32::from_be_bytes(size)).unwrap()];
        self.stream.read_exact(&mut answer)?;
        // The number of the request comes first.
        Ok(answer.split_off(4))
    }
}

fn text(text: &str) -> Vec<u8> {
    [&i16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

fn number(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(bytes[at..at + 2].try_into().unwrap())
}
