//! Between a store and its server: cuts the connection at a `commit`.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use url::Url;

/// Where the connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server never sees the `commit`.
    Before,
    /// It has done it, and its answer is lost.
    After,
}

pub struct Proxy {
    pub url: Url,
    /// How many `commit`s still pass before one is cut; counts down. Large: none.
    passing: Arc<AtomicU32>,
}

impl Proxy {
    pub async fn before(server: &str, cut: Cut) -> Self {
        let mut url: Url = server.parse().unwrap();
        let to = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        url.set_query(Some("sslmode=disable"));
        let passing = Arc::new(AtomicU32::new(u32::MAX));
        let counter = Arc::clone(&passing);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&to).await.unwrap();
                tokio::spawn(carry(client, server, cut, Arc::clone(&counter)));
            }
        });
        Self { url, passing }
    }

    /// Cuts the next `commit`, once.
    pub fn cut_next(&self) {
        self.passing.store(0, Ordering::SeqCst);
    }

    pub fn has_cut(&self) -> bool {
        self.passing.load(Ordering::SeqCst) == u32::MAX
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, cut: Cut, passing: Arc<AtomicU32>) {
    let (mut from_client, mut from_server) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(len @ 1..) = read else { return };
                let bytes = &from_client[..len];
                // A simple query of its own: `Q`, its length, and the text.
                let commits = bytes.ends_with(b"commit\0");
                let strikes = commits
                    && passing.compare_exchange(0, u32::MAX, Ordering::SeqCst, Ordering::SeqCst).is_ok();
                if strikes && cut == Cut::Before {
                    return;
                }
                if server.write_all(bytes).await.is_err() {
                    return;
                }
                if strikes {
                    // Its answer has come as far as here.
                    let _answer = server.read_u8().await;
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(len @ 1..) = read else { return };
                if client.write_all(&from_server[..len]).await.is_err() {
                    return;
                }
            }
        }
    }
}
