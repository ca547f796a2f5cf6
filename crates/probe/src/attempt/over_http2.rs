//! A request and its answer over HTTP/2.

use super::{Attempt, End, broke, no_head};
use crate::{
    clock::Leg,
    hop::Hop,
    http2::{self, Broken, Talk},
    shortage,
    stream::Stream,
    tls,
};
use model::{Reason, answer::Head, result::Finding, text::thousands};
use std::io;

impl Attempt<'_> {
    /// Asks, and reads the body of a final answer. Else where the answer leads.
    pub(super) async fn over_http2(&mut self) -> Result<Option<Hop>, End> {
        // The library needs all of it, and the kernel is to be asked about it however this ends.
        let mut stream = self.stream.take().expect("connect has made it");
        let end = self.talk(&mut stream).await;
        self.stream = Some(stream);
        end
    }

    async fn talk(&mut self, stream: &mut Stream) -> Result<Option<Hop>, End> {
        self.enter(Leg::Wait);
        let request = http2::request(&self.asking(), &self.hop, self.cookies())
            .map_err(|e| Finding::new(Reason::BadRedirect, format!("the URL can't be asked for over HTTP/2: {e}")))?;
        let mut talk = match Talk::open(stream, request, self.body()).await {
            Ok(talk) => talk,
            Err(broken) => return Err(self.before_head(broken, false).into()),
        };
        let head = match self.deadline.limit(talk.head()).await? {
            Ok(head) => head,
            Err(broken) => return Err(self.before_head(broken, talk.has_answer()).into()),
        };
        if let Some(next) = self.answered(&head)? {
            return Ok(Some(next));
        }
        self.read_pieces(head, &mut talk).await.map(|()| None)
    }

    /// Reads the body, while the rest of the request is sent: the site may need both.
    async fn read_pieces(&mut self, head: Head, talk: &mut Talk<'_>) -> Result<(), End> {
        let mut content = self.begin_body(head);
        loop {
            match self.deadline.limit(talk.piece()).await? {
                Ok(Some(piece)) => self.take_body(&piece, &mut content).await?,
                Ok(None) => break,
                Err(broken) => return Err(self.in_body(broken).into()),
            }
            self.give_up_when_late()?;
        }
        Ok(self.end_body(content)?)
    }

    fn before_head(&mut self, broken: Broken, has_answer: bool) -> Finding {
        let (reason, message) = match broken {
            // The handshake's end, late: TLS 1.3 refuses a client so. SETTINGS may have been on their way by then.
            Broken::Ended(Err(e)) if !has_answer && tls::tls_error(&e).is_some() => {
                self.clock.belongs_to(Leg::Tls);
                (Reason::TlsFailed, tls::why(&e))
            }
            Broken::Ended(read) => return no_head(read, !has_answer),
            Broken::Reset(code) => (
                Reason::Closed,
                format!("the server reset the stream ({code:?}) before its response head was complete"),
            ),
            Broken::GoAway(code) => {
                (Reason::Closed, format!("the server ended the connection (GOAWAY, {code:?}) before it answered"))
            }
            Broken::NotHttp2(what) => (Reason::BadResponse, format!("the response is not HTTP/2: {what}")),
            Broken::TooLarge => (Reason::BadResponse, "the head of the response is larger than 256 KiB".into()),
            Broken::Ours(what) => (Reason::ProberFailed, format!("the request can't be made: {what}")),
        };
        Finding::new(reason, message)
    }

    fn in_body(&self, broken: Broken) -> Finding {
        let how = match broken {
            Broken::Ended(Err(e)) if let Some(what) = shortage::of(&e) => {
                return Finding::new(Reason::ProberFailed, what);
            }
            Broken::Ended(Err(e)) if e.kind() != io::ErrorKind::UnexpectedEof => broke(&e),
            Broken::Ended(_) => "the connection ended".into(),
            Broken::Reset(code) => format!("the server reset the stream ({code:?})"),
            Broken::GoAway(code) => format!("the server ended the connection (GOAWAY, {code:?})"),
            Broken::NotHttp2(what) | Broken::Ours(what) => format!("what came is not HTTP/2: {what}"),
            Broken::TooLarge => "the trailers go on and on".into(),
        };
        let read = thousands(self.look.body_bytes.unwrap_or(0));
        Finding::new(Reason::Truncated, format!("{how} before the end of the body ({read} bytes came)"))
    }
}
