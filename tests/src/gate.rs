//! A way to a server that can be shut in the middle of an answer: what makes "while the object is
//! being read" a moment that a test can hold.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A TCP relay on 127.0.0.1. Of each answering connection it lets the first bytes through, then
/// none until it is opened. It ends when it is dropped.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    open: watch::Sender<bool>,
    waiting: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Gate {
    /// Relays to `server` and lets `bytes` through: more than any answer but the one that is meant.
    ///
    /// # Errors
    ///
    /// No port can be had.
    pub async fn before(server: SocketAddr, bytes: usize) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("listening for a gate")?;
        let address = listener.local_addr().context("the address of a gate")?;
        let (open, opened) = watch::channel(false);
        let (wait, waiting) = watch::channel(0);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, server, bytes, opened.clone(), wait.clone()));
            }
        });
        Ok(Self { address, open, waiting, task })
    }

    /// The base URL of the relayed server, without a trailing slash.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until an answer is held back.
    ///
    /// # Errors
    ///
    /// None is within `deadline`.
    pub async fn holds(&self, deadline: Duration) -> anyhow::Result<()> {
        let mut waiting = self.waiting.clone();
        let held = tokio::time::timeout(deadline, waiting.wait_for(|count| *count > 0)).await;
        held.with_context(|| format!("no answer came to the gate within {deadline:?}"))?
            .context("the gate has ended")?;
        Ok(())
    }

    /// Lets everything through, from now on.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Both ways of a connection, until either end closes it.
async fn relay(
    client: TcpStream,
    server: SocketAddr,
    bytes: usize,
    opened: watch::Receiver<bool>,
    waiting: watch::Sender<usize>,
) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let asked = pass(from_client, to_server, usize::MAX, opened.clone(), waiting.clone());
    tokio::join!(asked, pass(from_server, to_client, bytes, opened, waiting));
}

/// One way of it. Errors are those of a connection that was closed.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut free: usize,
    mut opened: watch::Receiver<bool>,
    waiting: watch::Sender<usize>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read) = from.read(&mut buffer).await
        && read > 0
    {
        let now = read.min(free);
        free -= now;
        if to.write_all(&buffer[..now]).await.is_err() {
            return;
        }
        if now < read {
            waiting.send_modify(|count| *count += 1);
            if opened.wait_for(|open| *open).await.is_err() {
                return;
            }
            free = usize::MAX;
            if to.write_all(&buffer[now..read]).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn holds_an_answer_back_and_then_gives_it_whole() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let server = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.expect("a client");
            let mut asked = [0; 3];
            connection.read_exact(&mut asked).await.expect("a question");
            connection.write_all(&[7; 300_000]).await.expect("an answer");
        });
        let gate = Gate::before(server, 1000).await.expect("a gate");
        let address = gate.endpoint().replace("http://", "");
        let mut client = TcpStream::connect(address).await.expect("a connection");
        client.write_all(b"GET").await.expect("asked");
        gate.holds(DEADLINE).await.expect("more than 1000 bytes came");
        let mut answer = vec![0; 1000];
        client.read_exact(&mut answer).await.expect("the first part");
        assert!(client.try_read(&mut [0]).is_err(), "more than that came through");
        gate.open();
        let rest = client.read_to_end(&mut answer);
        tokio::time::timeout(DEADLINE, rest).await.expect("in time").expect("the rest");
        assert_eq!(answer, [7; 300_000]);
    }
}
