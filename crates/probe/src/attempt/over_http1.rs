//! A request and its answer over HTTP/1.1.

use super::{Attempt, End, READ, broke, no_head};
use crate::{
    clock::Leg,
    hop::Hop,
    http1::{Body, HeadReader},
    shortage,
    stream::Outgoing,
    tls,
};
use bytes::{Buf, BytesMut};
use model::{Reason, answer::Head, result::Finding, text::thousands};
use std::io;

impl Attempt<'_> {
    /// Asks, and reads the body of a final answer. Else where the answer leads.
    pub(super) async fn over_http1(&mut self) -> Result<Option<Hop>, End> {
        let head = self.asking().http1(&self.hop, self.cookies());
        let (mut out, mut buffer) = (Outgoing::new(head, self.body()), BytesMut::new());
        let head = self.ask(&mut out, &mut buffer).await?;
        if let Some(next) = self.answered(&head)? {
            return Ok(Some(next));
        }
        let framing =
            Body::of(&self.hop.method, &head).map_err(|e| Finding::new(Reason::BadResponse, e.to_string()))?;
        self.read_body(head, framing, &mut out, buffer).await.map(|()| None)
    }

    /// Sends the request and reads the final head. What came behind it stays in the buffer.
    async fn ask(&mut self, out: &mut Outgoing, buffer: &mut BytesMut) -> Result<Head, End> {
        self.enter(Leg::Wait);
        let mut reader = HeadReader::default();
        let mut nothing_yet = true;
        loop {
            let stream = self.stream.as_mut().expect("connect has made it");
            let read = self.deadline.limit(stream.exchange(out, buffer, READ)).await?;
            if let Ok(1..) = read {
                nothing_yet = false;
                if let Some(head) = reader.read(buffer).map_err(|e| Finding::new(Reason::BadResponse, e.to_string()))? {
                    return Ok(head);
                }
                self.give_up_when_late()?;
                continue;
            }
            // An alert before the first byte of an answer is the handshake's end, late: TLS 1.3 refuses a client so.
            if let Err(e) = &read
                && nothing_yet
                && tls::tls_error(e).is_some()
            {
                self.clock.belongs_to(Leg::Tls);
                return Err(Finding::new(Reason::TlsFailed, tls::why(e)).into());
            }
            return Err(no_head(read, nothing_yet).into());
        }
    }

    /// Reads the body, and goes on sending the request if its answer came before its end: the site may need both.
    async fn read_body(
        &mut self,
        head: Head,
        mut framing: Body,
        out: &mut Outgoing,
        mut buffer: BytesMut,
    ) -> Result<(), End> {
        let mut content = self.begin_body(head);
        loop {
            while !framing.is_complete() && !buffer.is_empty() {
                let taken = framing.take(&buffer).map_err(|e| Finding::new(Reason::Truncated, e.to_string()))?;
                let from = taken.used - taken.body;
                self.take_body(&buffer[from..taken.used], &mut content).await?;
                buffer.advance(taken.used);
            }
            if framing.is_complete() {
                break;
            }
            self.give_up_when_late()?;
            let stream = self.stream.as_mut().expect("connect has made it");
            match self.deadline.limit(stream.exchange(out, &mut buffer, READ)).await? {
                Ok(1..) => {}
                end => {
                    self.end_of_body(&framing, end)?;
                    break;
                }
            }
        }
        Ok(self.end_body(content)?)
    }

    /// The connection ended, or broke, while a body was being read.
    fn end_of_body(&self, framing: &Body, end: io::Result<usize>) -> Result<(), Finding> {
        let read = self.look.body_bytes.unwrap_or(0);
        match end {
            Ok(_) => framing.end(read),
            Err(e) if let Some(what) = shortage::of(&e) => return Err(Finding::new(Reason::ProberFailed, what)),
            // The end of a TLS connection without close_notify, as browsers take it.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => framing.end(read),
            Err(e) => {
                return Err(Finding::new(
                    Reason::Truncated,
                    format!("the connection broke after {} bytes of the body: {}", thousands(read), broke(&e)),
                ));
            }
        }
        .map_err(|e| Finding::new(Reason::Truncated, e.to_string()))
    }
}
